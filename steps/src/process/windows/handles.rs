//! What a process inherits.
#![allow(unsafe_code, reason = "std has no way to say that a handle is not inherited")]

use std::sync::Once;

use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

/// Handles that whoever started us let us inherit would live on in a service: a pipe that never ends, a file that cannot be renamed.
pub fn seal() {
    static ONCE: Once = Once::new();
    /// Handles are multiples of four and given out from the lowest on: what was inherited is among these.
    const HIGHEST: usize = 16 << 10;
    ONCE.call_once(|| {
        for value in (4..=HIGHEST).step_by(4) {
            // SAFETY: no memory is touched; for what is no handle, the call fails. std copies what a child is to have.
            unsafe { SetHandleInformation(std::ptr::without_provenance_mut(value), HANDLE_FLAG_INHERIT, 0) };
        }
    });
}
