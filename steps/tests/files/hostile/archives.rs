//! Archives made to do harm: what is refused and why, and what looks odd and is none the less restored.

use super::zip::{
    DEFLATED, Entry, FLAG_DESCRIPTOR, Header, STORED, archive, archive_with, deflated, field, file, folder, header_bytes, link, with_mode,
    zip64,
};
use super::{refused, restore, surroundings};

/// An archive that must not be restored.
struct Case {
    name: &'static str,
    /// The entry that the error names; of an archive that is wrong as a whole, nothing.
    entry: &'static str,
    because: &'static str,
    archive: Vec<u8>,
}

fn case(name: &'static str, entry: &'static str, because: &'static str, entries: &[Entry]) -> Case {
    Case { name, entry, because, archive: archive(entries) }
}

fn whole(name: &'static str, because: &'static str, archive: Vec<u8>) -> Case {
    Case { name, entry: "", because, archive }
}

fn good() -> Entry {
    file("good.txt", "x")
}

fn evil() -> Entry {
    file("evil", "x")
}

/// Refused on every system: someone there would leave the folder, or write another file than the name says.
fn names() -> Vec<Case> {
    let at = |name: &'static str, entry: &'static str, because| case(name, entry, because, &[good(), file(entry, "x")]);
    let (climbs, empty) = ("climbs out of the folder", "has a component that is empty or a dot");
    vec![
        at("absolute", "/evil", "is absolute"),
        at("absolute, many slashes", "///evil", "is absolute"),
        at("climbing", "../evil", climbs),
        at("climbing in the middle", "a/../../evil", climbs),
        at("climbing and coming back", "../app/evil", climbs),
        at("climbing nowhere", "a/../evil", climbs),
        at("climbing at the end", "evil/..", climbs),
        at("climbing with backslashes", "..\\evil", climbs),
        at("climbing with both slashes", "a/..\\../evil", climbs),
        at("a drive", "C:\\evil", "begins with a drive"),
        at("a drive with a slash", "c:/evil", "begins with a drive"),
        at("nothing but a drive", "C:", "begins with a drive"),
        at("a share", "\\\\server\\share\\evil", "is absolute"),
        at("a device path", "\\\\?\\C:\\evil", "is absolute"),
        at("the root of a drive", "\\evil", "is absolute"),
        at("a backslash", "a\\evil", "has a backslash in it"),
        case("a NUL", "evil\\u{0}.txt", "has a NUL in it", &[file("evil\0.txt", "x")]),
        at("no name", "", empty),
        at("a dot", ".", empty),
        at("a dot in front", "./evil", empty),
        at("a dot in the middle", "a/./evil", empty),
        at("an empty component", "a//evil", empty),
        case("a folder without a name", "", "is absolute", &[folder("//")]),
        case("a folder that ends in two slashes", "evil/", empty, &[folder("evil//")]),
        case("not UTF-8", "evil\u{fffd}", "has a name that is not UTF-8", &[file(b"evil\xff", "x")]),
        case("overlong UTF-8 for a slash", "..\u{fffd}\u{fffd}evil", "has a name that is not UTF-8", &[file(b"..\xc0\xafevil", "x")]),
        case("half a surrogate", "evil\u{fffd}\u{fffd}\u{fffd}", "has a name that is not UTF-8", &[file(b"evil\xed\xa0\x80", "x")]),
        case("a long component", "", "is too long", &[file("e".repeat(256), "x")]),
        case("a long name", "", "is too long", &[file("evil/".repeat(13_000) + "evil", "x")]),
        case("another name in a field", "good.txt", "has another name as well (`../evil`)", &[renamed_by_field()]),
    ]
}

fn renamed_by_field() -> Entry {
    let content = [&[1][..], &super::zip::crc(b"good.txt").to_le_bytes(), b"../evil"].concat();
    good().central(|header| header.extra = field(0x7075, &content))
}

/// Refused where the rules of Windows hold.
fn windows_names() -> Vec<(&'static str, &'static str)> {
    vec![
        ("NUL", "is the name of a device"),
        ("a/con.txt", "is the name of a device"),
        ("com1", "is the name of a device"),
        ("lpt².log", "is the name of a device"),
        ("CONIN$", "is the name of a device"),
        ("aux .txt", "is the name of a device"),
        ("a:stream", "names an alternate stream"),
        ("a.txt::$DATA", "names an alternate stream"),
        ("C:evil", "names an alternate stream"),
        ("name.", "ends with a dot or a space, which Windows drops"),
        ("name ", "ends with a dot or a space, which Windows drops"),
        ("folder./x", "ends with a dot or a space, which Windows drops"),
        ("what?", "has characters that Windows does not allow"),
        ("tab\there", "has characters that Windows does not allow"),
    ]
}

fn links() -> Vec<Case> {
    let out = |target: &'static str| link("evil", target);
    vec![
        case("an absolute link", "evil", "is a link out of the folder (to `/etc`)", &[out("/etc")]),
        case("a link that climbs out", "evil", "is a link out of the folder (to `../x`)", &[out("../x")]),
        case("a link that climbs out from below", "a/evil", "is a link out of the folder", &[link("a/evil", "../../x")]),
        case("a link that climbs out in the middle", "evil", "is a link out of the folder", &[out("a/../../x")]),
        case("a link to a drive", "evil", "is a link out of the folder", &[out("C:\\x")]),
        case("a link to a share", "evil", "is a link out of the folder", &[out("\\\\server\\x")]),
        case("a link to nothing", "evil", "is a link to nothing", &[out("")]),
        case("a link with a NUL", "evil", "is a link to nothing", &[out("a\0b")]),
        case("a link that is not UTF-8", "evil", "is a link to a name that is not UTF-8", &[link("evil", b"a\xff")]),
        case("a link as long as a book", "evil", "is a link with a target that is too long", &[link("evil", "a/".repeat(3000))]),
        case("a link that climbs for ever", "evil", "is a link that climbs too often", &[link("evil", "a/../".repeat(101))]),
        case("a chain that climbs", "evil", "climbs out of another link", &[link("a/b", "."), link("evil", "a/b/../..")]),
        case("a chain of three", "evil", "climbs out of another link", &[link("a/b", "c"), link("a/c", "."), link("evil", "a/b/..")]),
        case("a link, then a file through it", "evil/x", "is inside `evil`, which is no folder", &[out("a"), file("evil/x", "x")]),
        case("a file through a link, then it", "evil/x", "is inside `evil`, which is no folder", &[file("evil/x", "x"), out("a")]),
        case("a folder behind a link", "evil/x", "is inside `evil`, which is no folder", &[out("a"), folder("evil/x/")]),
        case("a link behind a link", "evil/x", "is inside `evil`, which is no folder", &[out("a"), link("evil/x", "y")]),
        case("far behind a link", "evil/a/b", "is inside `evil`, which is no folder", &[out("a"), file("evil/a/b", "x"), folder("evil-/")]),
        case("a folder that is a link", "evil/", "is neither a file nor a folder nor a link", &[with_mode("evil/", "", 0o120_777)]),
    ]
}

/// The same thing twice, and things that no folder holds.
fn shapes() -> Vec<Case> {
    let other = |name, mode| case(name, "evil", "is neither a file nor a folder nor a link", &[good(), with_mode("evil", "x", mode)]);
    let dos_folder = |header: &mut Header| (header.made_by, header.attributes) = (20, 0x10);
    vec![
        case("twice", "evil", "is there twice", &[evil(), good(), file("evil", "y")]),
        case("a folder twice", "evil", "is there twice", &[folder("evil/"), folder("evil/")]),
        case("a file and a folder", "evil", "is there twice", &[evil(), folder("evil/")]),
        case("a file and a link", "evil", "is there twice", &[evil(), link("evil", "a")]),
        case("a file as a folder", "evil/x", "is inside `evil`, which is no folder", &[evil(), file("evil/x", "x")]),
        case("a file as a folder, far up", "evil/a/b/x", "is inside `evil`", &[file("evil/a/b/x", "x"), evil(), file("evil-", "x")]),
        case("a folder with content", "evil", "is a folder with content", &[with_mode("evil/", "x", 0o040_755)]),
        case("a file that DOS calls a folder", "evil", "is neither a file", &[evil().central(dos_folder)]),
        case("a folder of type file", "evil/", "is neither a file", &[with_mode("evil/", "", 0o100_644)]),
        other("a file of type folder", 0o040_755),
        other("a pipe", 0o010_644),
        other("a character device", 0o020_644),
        other("a block device", 0o060_644),
        other("a socket", 0o140_755),
        other("a type that there is not", 0o170_644),
    ]
}

/// What the directory says is not what is there.
fn headers() -> Vec<Case> {
    let differs = "is another thing in its own header than in the directory";
    let descriptor = "is another thing after its content than in the directory";
    let local = |name, change: fn(&mut Header)| case(name, "evil", differs, &[good(), evil().local(change)]);
    let crc = super::zip::crc(b"x");
    let mut tail = archive(&[good()]);
    tail.extend(b"more");
    vec![
        local("another name in its header", |header| header.name = b"good".to_vec()),
        local("a climbing name in its header", |header| header.name = b"../x".to_vec()),
        local("a folder in its header", |header| header.name = b"evil/".to_vec()),
        local("another method in its header", |header| header.method = DEFLATED),
        local("another checksum in its header", |header| header.crc ^= 1),
        local("another length in its header", |header| header.size += 1),
        local("another compressed length in its header", |header| header.compressed += 1),
        local("encrypted in its header only", |header| header.flags |= 1),
        local("streamed in its header only", |header| header.flags |= FLAG_DESCRIPTOR),
        local("broken fields in its header", |header| header.extra = vec![1, 0, 200, 0]),
        case("streamed in the directory only", "evil", differs, &[evil().central(|header| header.flags |= FLAG_DESCRIPTOR)]),
        case(
            "zip64 in its header that lies",
            "evil",
            differs,
            &[evil().local(|header| {
                (header.size, header.extra) = (u32::MAX, zip64(&[7]));
            })],
        ),
        case("a descriptor with another checksum", "evil", descriptor, &[evil().streamed(crc ^ 1, 1, 1)]),
        case("a descriptor with another length", "evil", descriptor, &[evil().streamed(crc, 1, 2)]),
        case("no descriptor although it says so", "evil", descriptor, &[evil().streamed(crc, 1, 1).before_bytes(b"")]),
        case("something between", "evil", "comes after something that belongs to no entry", &[good(), evil().after_bytes(b"hidden")]),
        case("something in front", "evil", "comes after something that belongs to no entry", &[evil().after_bytes(b"#!/bin/sh\n")]),
        whole(
            "something in front that is not counted",
            "its directory is not where it says",
            [b"#!/bin/sh\n", &archive(&[good()])[..]].concat(),
        ),
        whole("something behind", "it has no end", tail),
        case("outside the archive", "evil", "comes after something", &[evil().at(0x7fff_fff0)]),
        case("outside, beyond 32 bits", "evil", "comes after something", &[evil().at(u32::MAX).central(|h| h.extra = zip64(&[1 << 63]))]),
        case(
            "no header where it says",
            "evil",
            "has no header where it says",
            &[Entry { offset: Some(0), ..evil() }.after_bytes(&[0; 64])],
        ),
        case("in another part", "evil", "is in another part of the archive", &[evil().central(|header| header.disk = 1)]),
        case("fields that break off", "evil", "has extra fields that break off", &[evil().central(|h| h.extra = vec![1, 0, 200, 0, 1])]),
        case("fields with a rest", "evil", "has extra fields that break off", &[evil().central(|h| h.extra = vec![0; 3])]),
        case(
            "a zip64 field that is too short",
            "evil",
            "has extra fields that break off",
            &[evil().central(|header| {
                (header.size, header.extra) = (u32::MAX, field(1, &[1; 4]));
            })],
        ),
        case("no zip64 field", "evil", "not as long as it says", &[evil().central(|header| header.size = u32::MAX)]),
    ]
}

fn contents() -> Vec<Case> {
    let damaged = "the archive is damaged";
    let both = |name, because, entry: Entry, change: fn(&mut Header)| case(name, "evil", because, &[good(), entry.both(change)]);
    let mut more = deflated("evil", "content");
    more.content.extend(b"more");
    let mut twice = deflated("evil", "content");
    twice.content.extend([&twice.local.crc.to_le_bytes()[..], &twice.local.size.to_le_bytes(), b"more"].concat());
    let mut cut = deflated("evil", "content content");
    cut.content.truncate(cut.content.len() - 2);
    vec![
        both("a wrong checksum", damaged, evil(), |header| header.crc = 1),
        both("a wrong checksum, deflated", damaged, deflated("evil", "content"), |header| header.crc = 1),
        both("encrypted", "is encrypted", evil(), |header| header.flags |= 1),
        both("strongly encrypted", "is encrypted", evil(), |header| header.flags |= 1 << 6),
        both("with a masked header", "is encrypted", evil(), |header| header.flags |= 1 << 13),
        both("encrypted as WinZip does", "method 99, which is not supported", evil(), |header| header.method = 99),
        both("an unknown method", "method 93, which is not supported", evil(), |header| header.method = 93),
        both("deflate64", "method 9, which is not supported", evil(), |header| header.method = 9),
        both("stored, but not as long as it says", "not as long as it says", evil(), |header| header.size = 50),
        both("no deflate", "cannot be decompressed", evil(), |header| (header.method, header.size) = (DEFLATED, 10)),
        both("deflate that is cut off", damaged, cut, |header| header.compressed -= 2),
        both("a stored content read as deflate", damaged, deflated("evil", "content"), |header| {
            (header.method, header.size) = (STORED, header.compressed);
        }),
        both("longer than it says", "is longer than it says", deflated("evil", vec![7; 1000]), |header| header.size = 999),
        both("shorter than it says", "is shorter than it says", deflated("evil", vec![7; 1000]), |header| header.size = 1001),
        both("nothing, it says", "is longer than it says", deflated("evil", "content"), |header| header.size = 0),
        case("something after the end of deflate", "evil", "has something after its end", &[more.both(|header| header.compressed += 4)]),
        case("something after an end as gzip has it", "evil", "has something after its end", &[twice.both(|h| h.compressed += 12)]),
    ]
}

fn bombs() -> Vec<Case> {
    let proportion = "is out of all proportion to its compressed form";
    let zeros = deflated("evil", vec![0; 2 << 20]);
    let huge = |size: u64| {
        move |header: &mut Header| {
            (header.size, header.extra) = (u32::MAX, zip64(&[size]));
        }
    };
    let manifest = deflated(".almaplan-manifest.json", "");
    let padding = |header: &mut Header| (header.compressed, header.size) = (600_000, 600_000_000);
    let mut many: Vec<Entry> =
        (0..200_u32).map(|number| zeros.clone().both(|h| (h.name, h.size) = (format!("{number}").into(), 90 << 20))).collect();
    many.push(evil());
    vec![
        case("a bomb by ratio", "evil", proportion, &[zeros.clone().both(|header| header.size = 3_000_000_000)]),
        case("a bomb by size", "evil", proportion, &[zeros.clone().both(huge(1 << 63))]),
        case("a bomb by the largest size", "evil", proportion, &[zeros.clone().both(huge(u64::MAX))]),
        case("a stored bomb", "evil", "not as long as it says", &[evil().both(huge(1 << 40))]),
        case(
            "a bomb that reaches into the directory",
            "evil",
            "reaches into the directory",
            &[evil().both(|h| (h.size, h.compressed) = (5000, 5000))],
        ),
        case("a bomb that says little", "evil", "is longer than it says", &[zeros.clone().both(|header| header.size = 10)]),
        whole("a bomb of many parts", "out of all proportion to its size", archive(&many)),
        case(
            "a bomb as a manifest",
            ".almaplan-manifest.json",
            "is too large",
            &[Entry { content: vec![0; 600_000], ..manifest }.both(padding)],
        ),
        case("all entries are one", "evil1", "overlaps another", &[evil(), file("evil1", "x").at(0)]),
        case("one entry quotes the next", "8", "overlaps another", &quoted(10)),
        case("one in the middle of another", "b", "overlaps another", &nested()),
        Case { name: "200,000 entries in the same place", entry: "1", because: "overlaps another", archive: crowd(200_000) },
        whole(
            "many entries in nothing",
            "not as many entries as it says",
            archive_with(&[], |end| (end.count, end.count_here) = (9999, 9999)),
        ),
        whole(
            "more entries than any backup",
            "more entries than any backup",
            archive_with(&[good()], |end| {
                end.widen(|wide| (wide.count, wide.count_here) = (u64::MAX, u64::MAX));
            }),
        ),
    ]
}

/// As in David Fifield's bomb: the content of each entry begins with the header of the next, quoted, and goes on with its content.
fn quoted(levels: u32) -> Vec<Entry> {
    let content = vec![0; 1 << 20];
    let mut entries = vec![deflated("0", &content)];
    let mut unpacked = content;
    for level in 1..levels {
        let next = entries.last().unwrap();
        let quote = header_bytes(&next.local);
        unpacked = [&quote[..], &unpacked].concat();
        let len = quote.len() as u16;
        let mut entry = deflated(&level.to_string(), "");
        entry.content = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes()].concat();
        let (compressed, size, crc) = (next.local.compressed + 5 + u32::from(len), unpacked.len() as u32, super::zip::crc(&unpacked));
        entries.push(entry.both(|header| (header.compressed, header.size, header.crc) = (compressed, size, crc)));
    }
    entries.reverse();
    entries
}

/// The content of one entry is the whole of another.
fn nested() -> Vec<Entry> {
    let inner = file("b", "inner");
    let content = [header_bytes(&inner.local), inner.content.clone()].concat();
    let outer = file("a", content);
    let at = header_bytes(&outer.local).len() as u32;
    vec![outer, inner.only_said_at(at)]
}

/// So many records in the directory, and one entry.
fn crowd(count: usize) -> Vec<u8> {
    let mut entries: Vec<Entry> = (0..count).map(|number| file(number.to_string(), "").only_said_at(0)).collect();
    entries[0].absent = false;
    archive_with(&entries, |end| end.widen(|wide| (wide.count, wide.count_here) = (count as u64, count as u64)))
}

fn ends() -> Vec<Case> {
    let with = |change: fn(&mut super::zip::End)| archive_with(&[good()], change);
    let inner = archive(&[file("other", "x")]);
    let two_ends = archive_with(&[good()], |end| end.comment = inner);
    let disagree = "its two ends disagree";
    vec![
        whole("empty", "it has no end", Vec::new()),
        whole("text", "it has no end", b"this is no archive, and long enough to be looked at".to_vec()),
        whole("nothing but the signature of an end", "it has no end", b"PK\x05\x06".to_vec()),
        whole("two ends", "it has two ends", two_ends),
        whole("a count that lies", "not as many entries", with(|end| (end.count, end.count_here) = (2, 2))),
        Case {
            name: "a count of none",
            entry: "good.txt",
            because: "is one too many",
            archive: with(|end| (end.count, end.count_here) = (0, 0)),
        },
        whole("counts that disagree", "it is one part of several", with(|end| end.count_here = 0)),
        whole("the second part", "it is one part of several", with(|end| end.disk = 1)),
        whole("a directory in another part", "it is one part of several", with(|end| end.directory_disk = 1)),
        whole("a directory that is not there", "its directory is not where it says", with(|end| end.offset += 1)),
        whole("a directory that is too long", "its directory is not where it says", with(|end| end.len += 1)),
        whole("a directory that begins early", "breaks off at entry 1", with(|end| (end.offset, end.len) = (end.offset - 1, end.len + 1))),
        whole("a directory outside the file", "its directory is not where it says", with(|end| end.offset = u32::MAX - 1)),
        whole(
            "a zip64 count that disagrees",
            disagree,
            with(|end| {
                end.widen(|_| {});
                end.count = 2;
            }),
        ),
        whole("a zip64 directory elsewhere", "its directory is not where it says", with(|end| end.widen(|wide| wide.offset = 1 << 63))),
        whole(
            "a zip64 directory of absurd length",
            "its directory is not where it says",
            with(|end| end.widen(|wide| wide.len = u64::MAX)),
        ),
        whole("a zip64 end elsewhere", "its zip64 end is wrong", with(|end| end.widen(|wide| wide.at += 1))),
        whole("a zip64 end of another length", "its zip64 end is wrong", with(|end| end.widen(|wide| wide.record_len = 1 << 40))),
        whole("a zip64 end in another part", "it is one part of several", with(|end| end.widen(|wide| wide.locator_disk = 1))),
        whole("a zip64 end of several parts", "it is one part of several", with(|end| end.widen(|wide| wide.disks = 2))),
        whole("a zip64 directory in another part", "it is one part of several", with(|end| end.widen(|wide| wide.directory_disk = 1))),
        whole("something between the entries and the directory", "belongs to no entry", archive(&[good().before_bytes(b"hidden")])),
    ]
}

impl Case {
    /// What is wrong with how it is refused.
    async fn complaint(&self) -> Option<String> {
        let message = match refused(&self.archive).await {
            Err(problem) => return Some(problem),
            Ok(message) => message,
        };
        let named = self.entry.is_empty() || message.contains(&format!("the entry `{}`", self.entry));
        let readable = message.len() < 1000 && !message.contains(char::is_control);
        (!named || !readable || !message.contains(self.because)).then_some(message)
    }
}

#[tokio::test]
async fn each_hostile_archive_is_refused_whole_and_the_error_names_what_is_wrong() {
    let cases: Vec<Case> = [names(), links(), shapes(), headers(), contents(), bombs(), ends()].into_iter().flatten().collect();
    assert!(cases.len() >= 130, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        wrong.extend(case.complaint().await.map(|complaint| format!("{}: {complaint}", case.name)));
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
async fn names_that_only_windows_understands_differently_are_refused_there_and_restored_elsewhere() {
    let together = [file("A", "upper"), file("a", "lower"), folder("B/"), file("b/x", "x")];
    let collide = case("names that differ in case", "a", "is there twice", &together);
    let told = |name: &str| name.replace('\t', r"\u{9}").leak() as &str;
    let names = windows_names().into_iter().map(|(name, because)| case(name, told(name), because, &[good(), file(name, name)]));
    for case in names.chain([collide]) {
        if cfg!(windows) {
            assert_eq!(case.complaint().await, None, "{}", case.name);
            continue;
        }
        let world = surroundings(false);
        restore(&world, &case.archive).await.unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
    }
    if cfg!(windows) {
        return;
    }
    let world = surroundings(false);
    restore(&world, &archive(&together)).await.unwrap();
    assert_eq!(
        (world.read("inner/app/A"), world.read("inner/app/a"), world.read("inner/app/b/x")),
        ("upper".into(), "lower".into(), "x".into())
    );
}

/// What looks odd, and means one thing only.
fn honest() -> Vec<(&'static str, Vec<u8>)> {
    let a = || file("a", "a");
    let crc = super::zip::crc(b"a");
    let from_dos = |header: &mut Header| (header.made_by, header.attributes) = (20, 0);
    let short_descriptor = |entry: Entry| Entry { after: entry.after[4..].to_vec(), ..entry };
    let wide_descriptor = [&crc.to_le_bytes()[..], &1_u64.to_le_bytes(), &1_u64.to_le_bytes()].concat();
    let wide = |header: &mut Header| (header.size, header.compressed, header.extra) = (u32::MAX, u32::MAX, zip64(&[1, 1]));
    let named = |header: &mut Header| header.extra = field(0x7075, &[&[1][..], &super::zip::crc(b"a").to_le_bytes(), b"a"].concat());
    let old_time = |header: &mut Header| (header.time, header.date) = (0xFFFF, 0xFFFF);
    vec![
        ("nothing odd", archive(&[a()])),
        ("a comment", archive_with(&[a()], |end| end.comment = b"anything".to_vec())),
        ("a comment as long as it can be", archive_with(&[a()], |end| end.comment = vec![b'x'; 0xFFFF])),
        ("a comment on the entry", archive(&[a().central(|header| header.comment = b"anything".to_vec())])),
        ("made on DOS", archive(&[a().central(from_dos)])),
        ("not marked as UTF-8", archive(&[a().both(|header| header.flags = 0)])),
        ("streamed", archive(&[a().streamed(crc, 1, 1)])),
        ("streamed without a signature", archive(&[short_descriptor(a().streamed(crc, 1, 1))])),
        ("streamed with 64 bits", archive(&[a().streamed(crc, 1, 1).before_bytes(&wide_descriptor)])),
        ("zip64 without need", archive(&[a().both(wide)])),
        ("a zip64 end without need", archive_with(&[a()], |end| end.widen(|_| {}))),
        ("the same name in a field", archive(&[a().both(named)])),
        ("an unknown field", archive(&[a().both(|header| header.extra = field(0xCAFE, b"anything"))])),
        ("a time that there is not", archive(&[a().both(old_time)])),
        ("deflated without need", archive(&[deflated("a", "a")])),
        ("setuid and setgid", archive(&[with_mode("a", "a", 0o106_755)])),
        ("nobody may read it", archive(&[with_mode("a", "a", 0o100_000)])),
    ]
}

#[tokio::test]
async fn what_is_odd_and_means_one_thing_only_is_restored() {
    for (case, archive) in honest() {
        let world = surroundings(false);
        restore(&world, &archive).await.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert_eq!(world.read("inner/app/a"), "a", "{case}");
        #[cfg(unix)]
        assert_eq!(crate::files::fixture::mode(&world.path("inner/app/a").metadata().unwrap()) & 0o7000, 0, "{case}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_inside_the_folder_are_restored_as_they_were() {
    let links = [
        ("l", "a/b"),
        ("a/up", "../c"),
        ("a/around", "b/../../c"),
        ("dangling", "nowhere/at/all"),
        ("loop", "loop"),
        ("dot", "."),
        ("odd", "a\\b"),
    ];
    let entries: Vec<Entry> = links.iter().map(|(name, target)| link(name, target)).chain([file("a/b", "b"), file("c", "c")]).collect();
    let world = surroundings(false);
    restore(&world, &archive(&entries)).await.unwrap();
    for (name, target) in links {
        assert_eq!(std::fs::read_link(world.path("inner/app").join(name)).unwrap(), std::path::Path::new(target));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_of_zeros_are_no_bomb() {
    let world = surroundings(false);
    restore(&world, &archive(&[deflated("zeros", vec![0; 10_000_000])])).await.unwrap();
    assert_eq!(world.path("inner/app/zeros").metadata().unwrap().len(), 10_000_000);
}

// Strict about what two programs could understand differently, and still for what others write: whole, and streamed to a pipe.
#[tokio::test]
async fn archives_that_others_make_are_restored() {
    let world = surroundings(false);
    let python = "import sys, zipfile
def fill(to):
    with zipfile.ZipFile(to, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir('folder')
        archive.writestr('a/ção.txt', 'text ' * 1000)
        archive.writestr('b', b'', zipfile.ZIP_STORED)
fill(sys.argv[1])
class Pipe:
    def __init__(self, path): self.file = open(path, 'wb')
    def write(self, data): return self.file.write(data)
    def flush(self): self.file.flush()
fill(Pipe(sys.argv[2]))";
    let paths = [world.path("seekable.zip"), world.path("streamed.zip")];
    let made = std::process::Command::new("python3").args(["-X", "utf8", "-c", python]).args(&paths).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for path in paths {
        let world = surroundings(false);
        restore(&world, &std::fs::read(&path).unwrap()).await.unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        assert_eq!(world.read("inner/app/a/ção.txt").len(), 5000);
        assert!(world.path("inner/app/folder").is_dir() && world.read("inner/app/b").is_empty());
    }
}

// A name that an enemy chose was printed as it was: escape sequences, line breaks and all.
#[tokio::test]
async fn the_name_of_an_entry_cannot_write_on_the_terminal() {
    let entry = file("evil\u{1b}[2J\n[ok] all is well\u{202e}", "x").both(|header| header.crc = 1);
    let message = refused(&archive(&[entry])).await.unwrap();
    assert!(message.contains("evil\\u{1b}[2J\\u{a}[ok] all is well\\u{202e}"), "{message}");
}

// Each folder that was open while the one in it was removed took a handle: a failed restore of a deep archive left what it had extracted.
#[cfg(unix)]
#[tokio::test]
async fn a_refused_archive_with_a_thousand_folders_in_one_another_leaves_nothing() {
    if crate::files::fixture::with_few_handles(
        "files::hostile::archives::a_refused_archive_with_a_thousand_folders_in_one_another_leaves_nothing",
    ) {
        return;
    }
    let entry = file("d/".repeat(1000) + "evil", "x").both(|header| header.crc = 1);
    let message = refused(&archive(&[entry])).await.unwrap();
    assert!(message.contains("does not have the checksum"), "{message}");
}
