//! RSET (RFC 5321 4.1.1.5).

use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::syntax::reply::Reply;

pub(crate) fn rset(dialogue: &mut Dialogue, _argument: &str) -> Answer {
    dialogue.reset_transaction();
    Ok(Reply::new(250, "2.0.0", "OK"))
}
