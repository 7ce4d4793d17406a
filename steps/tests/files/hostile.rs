//! Archives made to do harm, byte by byte. Each must be refused before anything is written, by an error that names the entry.

use almaplan_steps::restore::Restore;
use serde_json::json;

use crate::world::World;

/// One entry of a hand-made archive; what the directory says and what is there are set apart.
#[derive(Clone)]
struct Made {
    name: Vec<u8>,
    local_name: Option<Vec<u8>>,
    content: Vec<u8>,
    method: u16,
    flags: u16,
    size: Option<u32>,
    compressed: Option<u32>,
    crc: Option<u32>,
    attributes: u32,
    offset: Option<u32>,
    extra: Vec<u8>,
}

fn file(name: &str, content: &str) -> Made {
    Made {
        name: name.as_bytes().to_vec(),
        local_name: None,
        content: content.as_bytes().to_vec(),
        method: 0,
        flags: 1 << 11,
        size: None,
        compressed: None,
        crc: None,
        attributes: 0o100_644 << 16,
        offset: None,
        extra: Vec::new(),
    }
}

fn link(name: &str, target: &str) -> Made {
    Made { attributes: 0o120_777 << 16, ..file(name, target) }
}

fn archive(entries: &[Made]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for made in entries {
        let at = made.offset.unwrap_or(out.len() as u32);
        let crc = made.crc.unwrap_or_else(|| crc32fast::hash(&made.content));
        let (compressed, size) = (made.compressed.unwrap_or(made.content.len() as u32), made.size.unwrap_or(made.content.len() as u32));
        let local = made.local_name.as_ref().unwrap_or(&made.name);
        out.extend(0x0403_4b50_u32.to_le_bytes());
        [20, made.flags, made.method, 0, 33].iter().for_each(|n| out.extend(n.to_le_bytes()));
        [crc, compressed, size].iter().for_each(|n| out.extend(n.to_le_bytes()));
        [local.len() as u16, 0].iter().for_each(|n| out.extend(n.to_le_bytes()));
        out.extend(local);
        out.extend(&made.content);
        directory.extend(0x0201_4b50_u32.to_le_bytes());
        [3 << 8 | 45, 20, made.flags, made.method, 0, 33_u16].iter().for_each(|n| directory.extend(n.to_le_bytes()));
        [crc, compressed, size].iter().for_each(|n| directory.extend(n.to_le_bytes()));
        [made.name.len() as u16, made.extra.len() as u16, 0, 0, 0].iter().for_each(|n| directory.extend(n.to_le_bytes()));
        [made.attributes, at].iter().for_each(|n| directory.extend(n.to_le_bytes()));
        directory.extend(&made.name);
        directory.extend(&made.extra);
    }
    let start = out.len() as u32;
    out.extend(&directory);
    out.extend(end(entries.len() as u16, directory.len() as u32, start));
    out
}

fn end(count: u16, len: u32, start: u32) -> Vec<u8> {
    let mut out = 0x0605_4b50_u32.to_le_bytes().to_vec();
    [0, 0, count, count].iter().for_each(|n| out.extend(n.to_le_bytes()));
    [len, start].iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend(0_u16.to_le_bytes());
    out
}

/// What restoring it says. Nothing may have been made but the archive itself.
async fn refused(case: &str, bytes: Vec<u8>) -> String {
    let world = World::new();
    world.write("inner/b.zip", bytes);
    let failure = world.run::<Restore>("r", "restore", json!({ "archive": "inner/b.zip", "to": "inner/app" })).await;
    let failure = failure.err().unwrap_or_else(|| panic!("{case} was accepted"));
    assert!(failure.clean, "{case}: {failure:?}");
    let made: Vec<_> = std::fs::read_dir(world.dir.path()).unwrap().chain(std::fs::read_dir(world.path("inner")).unwrap()).collect();
    assert_eq!(made.len(), 2, "{case} left something: {made:?}");
    failure.message
}

#[tokio::test]
async fn an_honest_hand_made_archive_is_restored() {
    let world = World::new();
    world.write("b.zip", archive(&[file("a/b.txt", "content"), link("l", "a/b.txt")]));
    world.run::<Restore>("r", "restore", json!({ "archive": "b.zip", "to": "app" })).await.unwrap();
    assert_eq!(world.read("app/l"), "content");
}

#[tokio::test]
async fn hostile_entries_are_refused_and_named() {
    let good = file("good.txt", "x");
    let deflated = |content: &str| Made { method: 8, ..file("evil", content) };
    let cases: Vec<(&str, Vec<Made>)> = vec![
        ("absolute", vec![good.clone(), file("/evil", "x")]),
        ("climbing", vec![good.clone(), file("../evil", "x")]),
        ("climbing in the middle", vec![file("a/../../evil", "x")]),
        ("climbing with backslashes", vec![file("..\\evil", "x")]),
        ("a drive", vec![file("C:\\evil", "x")]),
        ("a share", vec![file("\\\\server\\evil", "x")]),
        ("a NUL", vec![file("evil\0.txt", "x")]),
        ("an empty component", vec![file("a//evil", "x")]),
        ("not UTF-8", vec![Made { name: b"evil\xff".to_vec(), ..good.clone() }]),
        ("an absolute link", vec![link("evil", "/etc")]),
        ("a link that climbs out", vec![link("a/evil", "../../x")]),
        ("a link through a link", vec![link("a/up", ".."), link("evil", "a/up/../..")]),
        ("a file behind a link", vec![link("evil", "a"), file("evil/x", "x")]),
        ("a file as a folder", vec![file("evil", "x"), file("evil/x", "x")]),
        ("twice", vec![file("evil", "x"), file("evil", "y")]),
        ("a folder and a file", vec![file("evil", "x"), Made { attributes: 0o040_755 << 16, ..file("evil/", "") }]),
        ("a device", vec![Made { attributes: 0o020_644 << 16, ..file("evil", "x") }]),
        ("encrypted", vec![Made { flags: 1 | 1 << 11, ..file("evil", "x") }]),
        ("an unknown method", vec![Made { method: 93, ..file("evil", "x") }]),
        (
            "overlapping",
            vec![good.clone(), Made { offset: Some(0), local_name: Some(b"good.txt".to_vec()), name: b"evil".to_vec(), ..good.clone() }],
        ),
        ("another name in its header", vec![Made { local_name: Some(b"good".to_vec()), ..file("evil", "x") }]),
        ("stored, but longer than there is", vec![Made { size: Some(50), ..file("evil", "x") }]),
        ("reaching into the directory", vec![Made { size: Some(5000), compressed: Some(5000), ..file("evil", "x") }]),
        ("outside the archive", vec![Made { offset: Some(0x7fff_fff0), ..file("evil", "x") }]),
        ("a wrong checksum", vec![Made { crc: Some(1), ..file("evil", "x") }]),
        ("no deflate", vec![Made { size: Some(10), ..deflated("not deflate at all") }]),
        ("a declared bomb", vec![Made { size: Some(3_000_000_000), ..deflated("x") }]),
        ("extra fields that break off", vec![Made { extra: vec![1, 0, 200, 0, 1], ..file("evil", "x") }]),
        ("a zip64 field that is too short", vec![Made { size: Some(u32::MAX), extra: vec![1, 0, 4, 0, 1, 1, 1, 1], ..file("evil", "x") }]),
    ];
    for (case, entries) in cases {
        let message = refused(case, archive(&entries)).await;
        let named = message.contains("evil") || case == "outside the archive";
        assert!(named, "{case}: {message}");
        assert!(message.contains("b.zip"), "{case}: {message}");
    }
}

#[tokio::test]
async fn a_content_longer_than_declared_is_refused() {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 50_000_000]).unwrap();
    let bomb = Made { method: 8, size: Some(10), content: encoder.finish().unwrap(), ..file("evil", "") };
    let message = refused("a bomb that lies", archive(&[bomb])).await;
    assert!(message.contains("evil") && message.contains("longer"), "{message}");
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    let whole = archive(&[file("a", "x")]);
    let mut more = whole.clone();
    more[whole.len() - 12] += 1;
    let mut prefixed = b"prefix".to_vec();
    prefixed.extend(&whole);
    for (case, bytes) in [
        ("empty", Vec::new()),
        ("text", b"this is no archive, and long enough to be looked at".to_vec()),
        ("cut off", whole[..whole.len() - 1].to_vec()),
        ("a count that lies", more),
        ("something before it", prefixed),
        ("a directory that is not there", end(1, 46, 0)),
        ("a directory far away", end(1, 46, u32::MAX - 1)),
        ("many entries in nothing", end(u16::MAX, 0, 0)),
    ] {
        let message = refused(case, bytes).await;
        assert!(message.contains("b.zip"), "{case}: {message}");
    }
}
