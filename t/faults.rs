//! What goes wrong around the daemons: each time the client gets a temporary failure, the log says
//! why, and when it is over everything works again without a restart.

// A disk that is full or cannot be written.
pub(crate) mod disk;

// No more descriptors, no more processes.
mod limits;

// Clients that say nothing, or a little now and then.
mod slow;

// What has to be on the disk before 250.
mod durable;

// The clock jumps.
mod clock;

use crate::harness::Client;

/// Sends a message of so many octets; the code of the answer to its end.
fn deliver(client: &mut Client, id: &str, octets: usize) -> String {
    client.envelope();
    let line = "a line of the message, as long as lines are\r\n";
    let text = format!("Subject: {id}\r\n\r\n{}.", line.repeat(octets / line.len()));
    client.say(&text);
    client.reply().code
}
