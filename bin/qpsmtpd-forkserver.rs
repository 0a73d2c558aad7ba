//! See `qpsmtpd-forkserver --help`.

fn main() -> std::process::ExitCode {
    qpsmtpd::server::forkserver(&[])
}
