//! An archive that is to be restored: its directory, its names, its contents.
#![no_main]

use std::cell::RefCell;
use std::io::{Seek, SeekFrom, Write};

use libfuzzer_sys::fuzz_target;
use tempfile::NamedTempFile;

thread_local! {
    static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("there is a temporary folder"));
}

fuzz_target!(|bytes: &[u8]| {
    FILE.with_borrow_mut(|file| {
        file.as_file().set_len(0).expect("it can be emptied");
        file.seek(SeekFrom::Start(0)).expect("it is a file");
        file.write_all(bytes).expect("there is room");
        let _ = almaplan_steps::archive::read_all(file.path());
    });
});
