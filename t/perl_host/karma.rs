//! What Perl plugins give for the karma, and what they see of it.

use super::{PROBE, asks, config};
use crate::harness::{Model, Server};

const JUDGE: &str = r#"
sub do_adjust { my ($self, $transaction, $by) = @_; $self->adjust_karma($by) }
sub do_notes { my ($self, $transaction, @names) = @_; map { $self->connection->notes($_) } @names }
sub do_marked { $_[0]->is_naughty }
sub do_mark { $_[0]->store_deferred_reject('not like this'); 'marked' }
"#;

#[test]
fn perl_plugins_and_the_native_karma_agree() {
    let judge = [PROBE, JUDGE].concat();
    let lines = "judge\nkarma\nnaughty reject mail\nrcpt_ok\nqueue/discard";
    for model in Model::ALL {
        let config = config(lines, &[("judge", &judge)]);
        let config = config.set("store", "lmdb {work}/store 16M");
        let server = Server::start(&config, model);
        let notes = "NOOP notes karma karma_history";
        let session = |dialogue: &[(&str, &str)]| {
            let mut client = server.connect();
            super::helo(&mut client);
            asks(&mut client, dialogue);
            client.quit();
        };
        session(&[
            (notes, "250 0 0"),
            ("NOOP adjust -1", "250 -1"),
            (notes, "250 -1 0"),
            ("NOOP adjust -2", "250 -2"),
        ]);
        // Now it is naughty, for Perl plugins as well.
        let text = "You were naughty. You cannot connect for 1.00 more days.";
        session(&[(notes, "250 0 -1"), ("NOOP marked", &format!("250 {text}"))]);
        // Who is refused already is not counted once more, whoever marks it.
        session(&[("NOOP mark", "250 marked")]);
        session(&[(notes, "250 0 -1"), ("NOOP adjust 4", "250 4"), (notes, "250 4 -1")]);
        // Nothing good comes of saying it again.
        session(&[("NOOP adjust 4", "250 4"), ("NOOP adjust 4", "250 4"), (notes, "250 4 -1")]);
        server.stop().unwrap();
    }
}
