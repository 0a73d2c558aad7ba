//! ```text
//! NAME
//!     ident/geoip - finds out in which country and network the client is
//!
//! SYNOPSIS
//!     ident/geoip [db_dir FOLDER] [places FILE] [asn FILE] [distance IP|LATITUDE,LONGITUDE]
//!                 [too_far KM] [add_headers true|false] [reject 0|1|naughty]
//!
//! DESCRIPTION
//!     Looks the client's address up in databases in MaxMind's format (.mmdb), and keeps the
//!     results in notes: country, continent, city, network (autonomous system), and distance.
//!     greylisting can exempt countries by these notes, and other plugins can use them.
//!
//!     config/geoip refuses clients by country, continent and network, or changes their karma.  A
//!     client that may relay or is on a white list is not tested, so place this plugin after relay
//!     and whitelist.
//!
//!     A client on this machine is not looked up.  A client that the databases do not know is let
//!     in.  While a database cannot be read every client is let in, which the log says; with
//!     "on_error tempfail" clients are then told to try again later.
//!
//!     Databases are mapped into memory, once for all processes, and each look-up reads only what
//!     it needs.  When a file is replaced by another one under its name, as geoipupdate does it,
//!     the new file is in use within a second; if it cannot be read the old one stays in use.
//!     Never write into a file that is in use.
//!
//! ARGUMENTS
//!     db_dir FOLDER         the folder of the databases; by default the first of
//!                           /usr/local/share/GeoIP, /var/lib/GeoIP and /usr/share/GeoIP that has one.
//!                           For places the first of GeoIP2-City, GeoLite2-City, dbip-city-lite,
//!                           GeoIP2-Country, GeoLite2-Country and dbip-country-lite is used, for
//!                           networks the first of GeoIP2-ISP, GeoLite2-ASN and dbip-asn-lite, each
//!                           with .mmdb at its end
//!     places FILE           use this database for places instead
//!     asn FILE              use this database for networks instead
//!     distance IP           find out how far the client is from the place of this address
//!     distance LATITUDE,LONGITUDE
//!                           the same, from this place in degrees, such as 47.37,8.54
//!     too_far KM            take 1 from the karma of a client that is further away
//!     add_headers false     do not add header fields to the message; true by default
//!     reject 1              refuse as config/geoip says; the default
//!     reject 0              refuse nothing; write to the log what would be refused
//!     reject naughty        leave it to the plugin naughty to refuse the client later
//!     on_error ignore       let clients in while a database cannot be read; the default
//!     on_error tempfail     tell them to try again later
//!
//! CONFIG
//!     geoip   one ACTION WHAT VALUE... per line.  The first matching line decides:
//!
//!                 allow asn 64496            the lines below do not count
//!                 deny country KP XX         the client is refused
//!                 deny asn 64511 AS64510
//!                 karma -2 continent AN      2 are taken from its karma
//!
//!             WHAT is country (ISO 3166, two letters), continent (AF AN AS EU NA OC SA) or asn.  A
//!             line that cannot be read stops the start; in a running server it is skipped, and
//!             reported in the log.
//!
//! REPLIES
//!     550 mail from your country is not accepted here, instead of the greeting; or "your continent",
//!     or "your network"
//!
//! HEADERS
//!     X-GeoIP-Country, X-GeoIP-Continent, X-GeoIP-City and X-GeoIP-ASN, as far as they are known; they
//!     replace fields of these names that came with the message
//!
//! NOTES
//!     geoip_country        on the connection, as all of these: the country's code, such as US
//!     geoip_country_name   its English name
//!     geoip_continent      the continent's code, such as NA
//!     geoip_city           the city's English name
//!     geoip_asn            the network's number
//!     geoip_asn_name       the owner of the network
//!     geoip_distance       the distance in kilometers
//!
//! DIFFERENCES
//!     The Perl plugin of the same name also reads GeoIP.dat and similar files, which are no longer
//!     published.  With .mmdb files it knows neither distances nor networks, and refuses nobody.
//!
//! SEE ALSO
//!     greylisting, karma, hosts_allow, ident/p0f
//! ```

mod databases;
mod rules;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod writer;

use std::net::IpAddr;
use std::rc::Rc;

use base64::prelude::{BASE64_STANDARD, Engine};

use self::databases::{Databases, Place};
use self::rules::{Action, Rules, What};
use crate::config::Derived;
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, Session, Verdict};
use crate::log::Level;
use crate::state::Note;

/// The country's code; a note of the connection, as all of these.
pub const COUNTRY: Note<String> = Note::new("geoip_country");
/// Its English name.
pub const COUNTRY_NAME: Note<String> = Note::new("geoip_country_name");
/// The continent's code.
pub const CONTINENT: Note<String> = Note::new("geoip_continent");
/// The city's English name.
pub const CITY: Note<String> = Note::new("geoip_city");
/// The number of the autonomous system.
pub const ASN: Note<i64> = Note::new("geoip_asn");
/// Whose it is.
pub const ASN_NAME: Note<String> = Note::new("geoip_asn_name");
/// How far away the client is, in kilometers.
pub const DISTANCE: Note<i64> = Note::new("geoip_distance");

/// The radius of the earth in kilometers.
const RADIUS: f64 = 6378.0;

/// The most octets of an encoded word (RFC 2047 2): it has 75 characters at most.
const WORD: usize = 45;

/// A place: degrees north, degrees east.
type Location = (f64, f64);

struct Plugin {
    databases: Rc<Databases>,
    from: Option<From>,
    too_far: Option<i64>,
    rules: Rc<Derived<Rules>>,
    /// Is nobody let in while a database cannot be read?
    is_strict: bool,
}

/// From where distances are.
enum From {
    Address(IpAddr),
    Location(Location),
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["db_dir", "places", "asn", "distance", "too_far", "add_headers"])?;
    let from = args.named("distance").map(From::parse).transpose()?;
    let too_far = args.named("too_far").map(|_| args.parsed("too_far", 0)).transpose()?;
    let adds_headers = args.flag("add_headers", true)?;
    let databases = Rc::new(Databases::open(args, hooks.config())?);
    let lines = hooks.config().load(rules::NAME)?;
    let mut problems = vec![];
    let needs_networks = Rules::parse(&lines, &mut problems).ask_about(What::Asn);
    if let Some(error) = Error::all(problems) {
        return Err(error);
    }
    if needs_networks && !databases.know_networks() {
        return Err(Error::new(
            "config/geoip has lines with asn, and there is no database of them",
        ));
    }
    let plugin = Plugin {
        databases: databases.clone(),
        from,
        too_far,
        rules: hooks.derived_checked(rules::NAME, Rules::parse),
        is_strict: args.fail_closed(),
    };
    hooks.before_fork(move |config| match databases.refresh() {
        Ok(are_new) => are_new,
        Err(error) => {
            config.note_problem(&error);
            false
        }
    });
    hooks.connect(move |session| plugin.at_connect(session));
    if adds_headers {
        hooks.data_post(add_headers);
    }
    Ok(())
}

impl Plugin {
    fn at_connect(&self, session: &mut Session) -> Result<Verdict> {
        let ip = session.connection.remote_ip.to_canonical();
        if ip.is_loopback() {
            return Ok(session.skip("this machine"));
        }
        let place = match self.databases.find(ip) {
            Ok(place) => place,
            Err(error) if self.is_strict => return Err(error),
            Err(error) => {
                session.log(Level::Error, format_args!("skip, {error}"));
                return Ok(DECLINED);
            }
        };
        let distance = self.distance(&place);
        let told = told(&place, distance);
        if told.is_empty() {
            return Ok(session.skip("no results"));
        }
        session.log(Level::Info, &told);
        note(session, &place, distance);
        if distance.zip(self.too_far).is_some_and(|(distance, too_far)| distance > too_far) {
            session.adjust_karma(-1);
        }
        Ok(self.judge(session, &place))
    }

    /// What the rules make of it.
    fn judge(&self, session: &mut Session, place: &Place) -> Verdict {
        let rules = session.derived(&self.rules);
        let Some((action, what)) = rules.find(place) else { return DECLINED };
        if session.is_immune() {
            return DECLINED;
        }
        match action {
            Action::Allow => session.pass(format_args!("{} allowed", what.name())),
            Action::Karma(by) => {
                session.adjust_karma(by);
                DECLINED
            }
            Action::Deny => {
                let text = format!("mail from your {} is not accepted here", what.shown());
                session.get_reject(&text)
            }
        }
    }

    fn distance(&self, place: &Place) -> Option<i64> {
        let from = match self.from.as_ref()? {
            From::Location(location) => *location,
            From::Address(ip) => self.databases.find(*ip).ok()?.location?,
        };
        Some(kilometers(from, place.location?))
    }
}

impl From {
    fn parse(word: &str) -> Result<From> {
        if let Ok(ip) = word.parse() {
            return Ok(From::Address(ip));
        }
        let degrees =
            |word: &str, most: f64| word.parse().ok().filter(|degrees: &f64| degrees.abs() <= most);
        let location = word
            .split_once(',')
            .and_then(|(north, east)| Some((degrees(north, 90.0)?, degrees(east, 180.0)?)));
        let wanted = "an address, or LATITUDE,LONGITUDE in degrees";
        location.map(From::Location).ok_or_else(|| Error::value("distance", word, wanted))
    }
}

/// The length of the shortest way on a sphere (haversines).
fn kilometers(from: Location, to: Location) -> i64 {
    let ((north, east), (other_north, other_east)) = (from, to);
    let half = |one: f64, other: f64| ((other - one).to_radians() / 2.0).sin().powi(2);
    let cosines = north.to_radians().cos() * other_north.to_radians().cos();
    let chord = half(north, other_north) + cosines * half(east, other_east);
    (2.0 * RADIUS * chord.clamp(0.0, 1.0).sqrt().asin()).round() as i64
}

/// For the log.
fn told(place: &Place, distance: Option<i64>) -> String {
    let network = place.asn.map(|asn| format!("AS{asn}"));
    let distance = distance.map(|distance| format!("{distance} km"));
    let parts = [&place.continent, &place.country, &place.city, &network, &distance];
    parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn note(session: &mut Session, place: &Place, distance: Option<i64>) {
    let notes = &mut session.connection.notes;
    for (note, value) in [
        (COUNTRY, &place.country),
        (COUNTRY_NAME, &place.country_name),
        (CONTINENT, &place.continent),
        (CITY, &place.city),
        (ASN_NAME, &place.asn_name),
    ] {
        if let Some(value) = value {
            notes.set(note, value.clone());
        }
    }
    for (note, value) in [(ASN, place.asn.map(i64::from)), (DISTANCE, distance)] {
        if let Some(value) = value {
            notes.set(note, value);
        }
    }
}

fn add_headers(session: &mut Session) {
    let notes = &session.connection.notes;
    let asn = notes.get(ASN).map(|asn| asn.to_string());
    for (name, value) in [
        ("X-GeoIP-Country", notes.get(COUNTRY)),
        ("X-GeoIP-Continent", notes.get(CONTINENT)),
        ("X-GeoIP-City", notes.get(CITY)),
        ("X-GeoIP-ASN", asn),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let header = &mut session.transaction.header;
            header.delete(name);
            header.add_at(0, name, &in_header(&value));
        }
    }
}

/// A value as a field has it: one that is not ASCII as an encoded word (RFC 2047), and no more of it than
/// fits into one.
fn in_header(value: &str) -> String {
    if value.is_ascii() {
        return value.to_owned();
    }
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= WORD;
    let value: String = value.char_indices().take_while(fits).map(|(_, c)| c).collect();
    format!("=?utf-8?b?{}?=", BASE64_STANDARD.encode(value))
}
