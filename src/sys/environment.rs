//! The environment of this process.
#![allow(unsafe_code)]

use std::env;
use std::ffi::OsStr;

/// Sets or, with None, removes a variable.  To be called before there are threads.
pub fn set(name: &OsStr, value: Option<&OsStr>) {
    // SAFETY: the process has a single thread.
    unsafe {
        match value {
            Some(value) => env::set_var(name, value),
            None => env::remove_var(name),
        }
    }
}
