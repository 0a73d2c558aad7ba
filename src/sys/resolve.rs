//! The name of an address, as the system's resolver gives it.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem;
use std::net::IpAddr;

/// The host name of `ip`; `localhost` for loopback addresses, None where there is none.
///
/// This blocks as long as the system's resolver does, see [`limit_waiting`].
pub fn host_of(ip: IpAddr) -> Option<String> {
    if ip.is_loopback() {
        return Some("localhost".into());
    }
    let mut name = [0 as libc::c_char; libc::NI_MAXHOST as usize];
    let (storage, length) = sockaddr(ip);
    // SAFETY: `storage` is a socket address of `length` valid octets, `name` is a buffer of the
    // length that is passed, and both outlive the call.
    let status = unsafe {
        libc::getnameinfo(
            (&raw const storage).cast(),
            length,
            name.as_mut_ptr(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if status != 0 {
        return None;
    }
    // SAFETY: getnameinfo succeeded, so `name` holds a string that ends in NUL.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_str().ok()?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    name.bytes().all(fits).then(|| name.to_owned())
}

/// Asks the resolver to give up soon, unless the environment says how long it may take.  To be
/// called before there are threads or sessions.
pub fn limit_waiting() {
    if std::env::var_os("RES_OPTIONS").is_none() {
        // SAFETY: the process has a single thread.
        unsafe { std::env::set_var("RES_OPTIONS", "timeout:2 attempts:1") };
    }
}

fn sockaddr(ip: IpAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zeroes is a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let length = match ip {
        IpAddr::V4(ip) => {
            // SAFETY: sockaddr_storage is large enough and aligned for every socket address.
            let v4 = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
            mem::size_of::<libc::sockaddr_in>()
        }
        IpAddr::V6(ip) => {
            // SAFETY: as above.
            let v6 = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            v6.sin6_addr.s6_addr = ip.octets();
            mem::size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_localhost() {
        assert_eq!(host_of("127.0.0.1".parse().unwrap()).as_deref(), Some("localhost"));
        assert_eq!(host_of("::1".parse().unwrap()).as_deref(), Some("localhost"));
    }

    #[test]
    fn addresses_become_socket_addresses() {
        let (storage, length) = sockaddr("192.0.2.1".parse().unwrap());
        assert_eq!(i32::from(storage.ss_family), libc::AF_INET);
        assert_eq!(length as usize, mem::size_of::<libc::sockaddr_in>());
    }
}
