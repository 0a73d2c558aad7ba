//! The notes that plugins share, with their types.

use crate::state::Note;

/// Why this client is to be refused later, by the plugin naughty; a note of the connection.
pub const NAUGHTY: Note<String> = Note::new("naughty");
/// With what `reject_type` the plugin that marked it wants it refused.
pub const NAUGHTY_REJECT_TYPE: Note<String> = Note::new("naughty_reject_type");
/// This client was refused already.
pub const REJECTED: Note<String> = Note::new("rejected");
/// This client is on a white list; a note of the connection.
pub const WHITELISTHOST: Note<String> = Note::new("whitelisthost");
/// The white list that has this client is one in the DNS, which others keep; a note of the
/// connection.
pub const WHITELISTDNS: Note<bool> = Note::new("whitelistdns");
/// This sender is on a white list; a note of the transaction.
pub const WHITELISTSENDER: Note<String> = Note::new("whitelistsender");
/// How many messages our users have sent to this sender, which is no forgery; a note of the transaction.
pub const PENPAL: Note<i64> = Note::new("penpal");
/// How well this client behaves, as a sum; a note of the connection.
pub const KARMA: Note<i64> = Note::new("karma");
/// Which plugins, at which hooks, have given the client good karma since its last message was
/// accepted; a note of the connection.
pub(crate) const KARMA_GIVEN: Note<Vec<String>> = Note::new("karma_given");
/// How well this client behaved before: its nice connections less its naughty ones; a note of the
/// connection.
pub const KARMA_HISTORY: Note<i64> = Note::new("karma_history");
/// The arguments of the last MAIL command as they came; a note of the connection.
pub const ENVELOPE_FROM: Note<String> = Note::new("envelope_from");
/// The arguments of the last RCPT command as they came; a note of the connection.
pub const ENVELOPE_RCPT: Note<String> = Note::new("envelope_rcpt");
/// Extensions that plugins offer: lines of the EHLO reply; a note of the connection or of the
/// transaction.
pub const CAPABILITIES: Note<Vec<String>> = Note::new("capabilities");
/// Results for the Authentication-Results header (RFC 8601), joined by `; `.
pub const AUTHENTICATION_RESULTS: Note<String> = Note::new("authentication_results");
