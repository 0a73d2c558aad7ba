//! ```text
//! NAME
//!     hosts_allow - decides which hosts may connect
//!
//! SYNOPSIS
//!     hosts_allow
//!
//! DESCRIPTION
//!     Decides about a client before it costs a process or gets a greeting.
//!
//!     A client that has as many connections as one address may have (the option --max-from-ip) is
//!     told "too many connections from ADDRESS, try again later".  The server itself enforces that
//!     limit, too, with the same reply.  The plugin karma allows more or fewer connections, by the
//!     history of the address.
//!
//!     After that the first matching line of config/hosts_allow decides.
//!
//!     It has no effect where the server runs under inetd or tcpserver, which have their own means:
//!     see "tcpserver -x" and hosts_access(5).
//!
//! CONFIG
//!     hosts_allow   one ADDRESS CODE [TEXT] per line
//!
//!     ADDRESS is an address or a network, IPv4 or IPv6.  CODE is one of the return codes.  TEXT is
//!     what a client is told that is refused:
//!
//!         192.0.2.4           DECLINED
//!         192.0.2.0/24        DENY Sorry, known spam only source
//!         2001:db8:bad::/48   DENYSOFT Come back later
//!
//!     DENY is a reply 550 and DENYSOFT a reply 451 instead of the greeting, and the connection is
//!     closed, as in the Perl plugin of the same name.  RFC 5321 3.1 has 554 instead of 550.
//!     Clients go by the first digit: mail is returned, or tried again later.
//!
//!     In this example 192.0.2.4 is exempt from the DENY of its network.  A line with an address or
//!     a code that cannot be read is skipped, and reported in the log.
//!
//! SEE ALSO
//!     relay, karma
//! ```

use ipnet::IpNet;

use crate::config::{Line, network, word_and_rest};
use crate::error::Result;
use crate::hook::{Args, Code, DECLINED, Hooks, Verdict};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let rules = hooks.rows("hosts_allow", rule);
    hooks.pre_connection(move |client| {
        let (ip, max) = (client.remote_ip, client.limit_per_address);
        let connections = client.connections_from(ip) + 1;
        if max > 0 && connections > max {
            let text = format!("too many connections from {ip}");
            client.log(Level::Info, format_args!("fail, {text} ({connections} > {max})"));
            return Verdict::denysoft(format!("{text}, try again later"));
        }
        let rules = client.derived(&rules);
        let Some(rule) = rules.iter().find(|rule| rule.network.contains(&ip)) else {
            client.log(Level::Debug, "pass");
            return DECLINED;
        };
        let result = if rule.code.is_deny() { "fail" } else { "pass" };
        let level = if rule.code.is_deny() { Level::Info } else { Level::Debug };
        client.log(level, format_args!("{result}, {} for {ip}, {}", rule.code, rule.text));
        Verdict::new(rule.code, rule.text.clone())
    });
    Ok(())
}

/// One line of the file.
struct Rule {
    network: IpNet,
    code: Code,
    text: String,
}

fn rule(line: &Line) -> Result<Rule> {
    let (address, rest) = line.word_and_rest();
    let (code, text) = word_and_rest(rest);
    let network =
        network(address).ok_or_else(|| format!("not an address or network: '{address}'"))?;
    let code = Code::from_name(code).ok_or_else(|| format!("not a return code: '{code}'"))?;
    Ok(Rule { network, code, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    fn is(verdict: Verdict, code: Code, text: &str) {
        assert_eq!((verdict.code(), verdict.text()), (code, text));
    }

    #[test]
    fn one_address_may_have_so_many_connections() {
        let trial = Trial::new("hosts_allow", &[]);
        let others = ["192.0.2.1", "192.0.2.9", "2001:db8::1", "192.0.2.1"];
        let text = "too many connections from 192.0.2.1, try again later";
        is(trial.pre_connection("192.0.2.1", &others, 2), Code::DenySoft, text);
        assert!(trial.log().contains(
            "(pre-connection) hosts_allow: fail, too many connections from 192.0.2.1 (3 > 2)"
        ));
        is(trial.pre_connection("192.0.2.1", &others, 3), Code::Declined, "");
        is(trial.pre_connection("192.0.2.1", &others, 0), Code::Declined, "");
        is(trial.pre_connection("192.0.2.8", &others, 1), Code::Declined, "");
        let text = "too many connections from 2001:db8::1, try again later";
        is(trial.pre_connection("2001:db8::1", &others, 1), Code::DenySoft, text);
        assert!(trial.log().contains("(pre-connection) hosts_allow: pass"));
    }

    #[test]
    fn the_first_line_that_fits_decides() {
        let list = "192.0.2.4 DECLINED\n\
            192.0.2.0/24\tDENY   Sorry,  known spam only source\n\
            198.51.100.77/24 DENYSOFT_DISCONNECT\n\
            203.0.113.1 OK\n\
            203.0.113.0/24 DENY_DISCONNECT no\n\
            ::ffff:192.0.3.1 DENYHARD mapped\n\
            2001:db8:bad::/48 DENYSOFT Come back later\n";
        let trial = Trial::new("hosts_allow", &[("hosts_allow", list)]);
        for (ip, code, text) in [
            ("192.0.2.4", Code::Declined, ""),
            ("192.0.2.0", Code::Deny, "Sorry,  known spam only source"),
            ("192.0.2.255", Code::Deny, "Sorry,  known spam only source"),
            ("198.51.100.1", Code::DenySoftDisconnect, ""),
            ("203.0.113.1", Code::Ok, ""),
            ("203.0.113.2", Code::DenyDisconnect, "no"),
            ("192.0.3.1", Code::DenyDisconnect, "mapped"),
            ("2001:db8:bad:ffff::1", Code::DenySoft, "Come back later"),
            ("2001:db8::1", Code::Declined, ""),
        ] {
            is(trial.pre_connection(ip, &[], 0), code, text);
        }
        assert!(trial.log().contains("fail, DENYSOFT for 2001:db8:bad:ffff::1, Come back later"));
        assert!(trial.log().contains("pass, DECLINED for 192.0.2.4, "));
        assert!(Trial::load("hosts_allow somebody", &[]).is_err());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_logged_and_skipped() {
        let list =
            "192.0.2.1 deny\nmx.example DENY\n192.0.2.1\n10.0.0.0/40 DENY\n192.0.2.1 DENY no\n";
        let mut trial = Trial::new("hosts_allow", &[("hosts_allow", list)]);
        for _ in 0..2 {
            is(trial.pre_connection("192.0.2.1", &[], 0), Code::Deny, "no");
        }
        for line in [
            "hosts_allow:1: not a return code: 'deny'",
            "hosts_allow:2: not an address or network: 'mx.example'",
            "hosts_allow:3: not a return code: ''",
            "hosts_allow:4: not an address or network: '10.0.0.0/40'",
        ] {
            assert_eq!(trial.log().matches(line).count(), 1, "{line}\n{}", trial.log());
        }
        trial.set_config("hosts_allow", "192.0.2.2 DENY");
        is(trial.pre_connection("192.0.2.1", &[], 0), Code::Declined, "");
    }
}
