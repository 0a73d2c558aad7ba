//! What plugins do for people and timers, without a client: `--dmarc-reports`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::hook::{Session, Shared};
use crate::server::console::say;
use crate::state::Connection;
use crate::sys::deadline;

/// The longest time of a job.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// Has a plugin do its job `name`, and shows what that returns.
///
/// # Errors
/// No plugin has such a job, or it could not be done.
pub(super) fn run(shared: &Shared, name: &str, word: &str) -> Result<()> {
    deadline::install_alone(&["/proc/self/exe", "--overdue"]);
    shared.plugins.confine();
    shared.plugins.post_fork(&shared.config);
    let here = (IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let mut connection = Connection::new(here, here);
    // It is our own mail.
    connection.relay_client = true;
    let mut session = Session::new(shared.clone(), connection, std::process::id().to_string());
    let Some(done) = session.run_job(name, word, LIMIT) else {
        return Err(Error::new(format!("no plugin in config/plugins handles --{name}")));
    };
    say(&done?);
    Ok(())
}
