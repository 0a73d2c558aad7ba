//! See `qpsmtpd --help`.

fn main() -> std::process::ExitCode {
    qpsmtpd::server::qpsmtpd(&[])
}
