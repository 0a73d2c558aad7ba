//! `qpsmtpd-prefork` with the plugins of this site.

mod former_staff;

fn main() -> std::process::ExitCode {
    qpsmtpd::server::prefork(&[qpsmtpd::plugin!(former_staff)])
}
