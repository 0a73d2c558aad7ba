//! See `qpsmtpd-prefork --help`.

fn main() -> std::process::ExitCode {
    qpsmtpd::server::prefork(&[])
}
