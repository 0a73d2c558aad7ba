//! The store that native plugins have, from Perl.

use super::{PROBE, asks, config};
use crate::harness::{Model, Server};

const KEEPER: &str = r#"
use Qpsmtpd::DB::Store;
sub store { Qpsmtpd::DB::Store->new(name => $_[0]->plugin_name) }
sub do_add {
    my ($self, $transaction, $key, $seconds) = @_;
    return $self->store->update($key, $seconds, sub { ($_[0] || 0) + 1 });
}
sub do_get { shown($_[0]->store->get($_[2])) }
sub do_set { shown($_[0]->store->set(@_[2 .. $#_])) }
sub do_octets { my $store = $_[0]->store; $store->set("\xff\0", "\xfe\n\0"); shown($store->get("\xff\0") eq "\xfe\n\0") }
sub do_delete { shown($_[0]->store->delete(@_[2 .. $#_])) }
sub do_flush { shown($_[0]->store->flush) }
"#;

#[test]
fn perl_plugins_remember_in_the_store_of_native_ones() {
    for model in Model::PARENTS {
        let config = config(
            "keeper\nrcpt_ok\nqueue/maildir {work}/Maildir",
            &[("keeper", &[PROBE, KEEPER].concat())],
        );
        let server = Server::start(&config, model);
        let mut client = server.connect();
        super::helo(&mut client);
        let mut other = server.connect();
        super::helo(&mut other);
        asks(&mut client, &[("NOOP add a", "250 1"), ("NOOP add a 60", "250 2")]);
        asks(&mut other, &[("NOOP add a", "250 3"), ("NOOP get b", "250 undef")]);
        asks(&mut client, &[("NOOP set b x 60", "250 1"), ("NOOP octets", "250 1")]);
        asks(&mut other, &[("NOOP get b", "250 \"x\""), ("NOOP delete b c", "250 1")]);
        asks(&mut client, &[("NOOP get b", "250 undef"), ("NOOP delete a", "250 1")]);
        asks(&mut client, &[("NOOP set d 1", "250 1"), ("NOOP flush", "250 2")]);
        asks(&mut other, &[("NOOP get d", "250 undef")]);
        client.quit();
        other.quit();
        server.stop().unwrap();
    }
}
