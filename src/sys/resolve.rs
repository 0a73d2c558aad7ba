//! How the system's resolver looks up the names of servers that we connect to.
#![allow(unsafe_code)]

/// Asks the resolver to give up soon, unless the environment says how long it may take.  To be
/// called before there are threads or sessions.
pub fn limit_waiting() {
    if std::env::var_os("RES_OPTIONS").is_none() {
        // SAFETY: the process has a single thread.
        unsafe { std::env::set_var("RES_OPTIONS", "timeout:2 attempts:1") };
    }
}
