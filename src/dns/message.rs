//! Questions and answers as octets (RFC 1035 4), made and read by the crate `domain`.

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::name::{FlattenInto, NameBuilder};
use domain::base::rdata::UnknownRecordData;
use domain::base::{Message, MessageBuilder, Name, ParsedName, RecordSection, ToName};
use domain::rdata::{A, Aaaa, Cname, Mx, Ns, Ptr, Txt};

use super::{Answer, Kind, Question, Record, Tlsa};

/// The largest answer that is wanted by UDP: it travels whole on every path.
const UDP_OCTETS: u16 = 1232;

/// The most aliases from a name to its records that are followed.
const MOST_ALIASES: usize = 16;

type Octets<'a> = &'a [u8];
type Parsed<'a> = ParsedName<Octets<'a>>;

/// What a message says to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// It belongs to another question, or is none at all: the right one may still come.
    Another,
    /// It does not fit into a datagram and has to be asked for by TCP.
    Truncated,
    /// The server cannot or will not say, for this reason.
    Refused(String),
    /// The answer.
    Answer(Answer),
}

/// The octets of a question; None if no such name can be asked for (RFC 1035 2.3.4: labels of 1 to
/// 63 octets, 255 in all).
pub(super) fn question(question: &Question, id: u16) -> Option<Vec<u8>> {
    let name = name_of(question.name())?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    message.header_mut().set_rd(true);
    message.header_mut().set_ad(true);
    let mut message = message.question();
    message.push((name, rtype(question.kind()))).ok()?;
    let mut message = message.additional();
    message
        .opt(|opt| {
            opt.set_udp_payload_size(UDP_OCTETS);
            Ok(())
        })
        .ok()?;
    Some(message.finish())
}

/// Reads what came for a question that was asked under `id`.  The mark of DNSSEC counts only from
/// a server that is `trusted` to have checked (RFC 6840 5.8).
pub(super) fn read(octets: &[u8], question: &Question, id: u16, trusted: bool) -> Response {
    let Ok(message) = Message::from_slice(octets) else { return Response::Another };
    let header = message.header();
    if !header.qr() || header.id() != id || header.opcode() != Opcode::QUERY {
        return Response::Another;
    }
    let Ok(asked) = message.sole_question() else { return Response::Another };
    let own = name_of(question.name()).is_some_and(|name| asked.qname().name_eq(&name));
    if !own || asked.qtype() != rtype(question.kind()) || asked.qclass() != Class::IN {
        return Response::Another;
    }
    if header.tc() {
        return Response::Truncated;
    }
    match header.rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        code => return Response::Refused(format!("the server says {code}")),
    }
    let Some((aliases, records)) =
        message.answer().ok().and_then(|answers| found(answers, question))
    else {
        return Response::Refused("an answer that cannot be read".into());
    };
    if !records.is_empty() {
        return Response::Answer(Answer::Found { records, authentic: trusted && header.ad() });
    }
    // A server that only knows others to ask is of no help to a resolver that asks nobody else.
    if !header.ra() && !header.aa() {
        return Response::Refused("the server does not resolve names".into());
    }
    Response::Answer(match header.rcode() {
        Rcode::NXDOMAIN => Answer::Nothing,
        _ if aliases > MOST_ALIASES => return Response::Refused("aliases without end".into()),
        _ => Answer::NoData,
    })
}

/// Follows aliases from the name that was asked for, and takes the records at their end; also
/// how many aliases there were.  None if the section cannot be read.
fn found(section: RecordSection<'_, [u8]>, question: &Question) -> Option<(usize, Vec<Record>)> {
    let mut aliases: Vec<(Parsed<'_>, Parsed<'_>)> = Vec::new();
    let mut records: Vec<(Parsed<'_>, Record)> = Vec::new();
    for parsed in section {
        let parsed = parsed.ok()?;
        if parsed.class() != Class::IN {
            continue;
        }
        let owner = parsed.owner();
        if parsed.rtype() == Rtype::CNAME {
            let cname = parsed.into_record::<Cname<_>>().ok()??;
            aliases.push((owner, cname.into_data().into_cname()));
        } else if parsed.rtype() == rtype(question.kind()) {
            // A record that cannot be read is left out, and does not take the others with it.
            if let Some(record) = record(parsed) {
                records.push((owner, record));
            }
        }
    }
    let own: Name<Vec<u8>> = name_of(question.name())?;
    let mut name: Parsed<'_> = match aliases.iter().find(|(owner, _)| owner.name_eq(&own)) {
        Some((_, target)) => *target,
        None => {
            let own = records.into_iter().filter(|(owner, _)| owner.name_eq(&own));
            return Some((0, own.map(|(_, record)| record).collect()));
        }
    };
    let mut followed = 1;
    while let Some((_, target)) = aliases.iter().find(|(owner, _)| owner.name_eq(&name)) {
        name = *target;
        followed += 1;
        if followed > MOST_ALIASES {
            return Some((followed, Vec::new()));
        }
    }
    let at_end = records.into_iter().filter(|(owner, _)| owner.name_eq(&name));
    Some((followed, at_end.map(|(_, record)| record).collect()))
}

fn record(parsed: domain::base::record::ParsedRecord<'_, [u8]>) -> Option<Record> {
    Some(match parsed.rtype() {
        Rtype::A => Record::A(parsed.into_record::<A>().ok()??.into_data().addr()),
        Rtype::AAAA => Record::Aaaa(parsed.into_record::<Aaaa>().ok()??.into_data().addr()),
        Rtype::MX => {
            let mx = parsed.into_record::<Mx<Parsed<'_>>>().ok()??.into_data();
            Record::Mx(mx.preference(), text_of(mx.exchange())?)
        }
        Rtype::TXT => {
            let txt = parsed.into_record::<Txt<Octets<'_>>>().ok()??.into_data();
            Record::Txt(txt.iter().flatten().copied().collect())
        }
        Rtype::PTR => {
            let ptr = parsed.into_record::<Ptr<Parsed<'_>>>().ok()??;
            Record::Ptr(text_of(ptr.data().ptrdname())?)
        }
        Rtype::NS => {
            let ns = parsed.into_record::<Ns<Parsed<'_>>>().ok()??;
            Record::Ns(text_of(ns.data().nsdname())?)
        }
        Rtype::TLSA => {
            let found = parsed.into_record::<UnknownRecordData<Octets<'_>>>().ok()??.into_data();
            Record::Tlsa(match found.data() {
                [usage, selector, matching, data @ ..] => Tlsa {
                    usage: *usage,
                    selector: *selector,
                    matching: *matching,
                    data: data.to_vec(),
                },
                // That there is a record matters even where nothing can be made of it.
                _ => Tlsa { usage: u8::MAX, selector: 0, matching: 0, data: vec![] },
            })
        }
        _ => return None,
    })
}

fn rtype(kind: Kind) -> Rtype {
    match kind {
        Kind::A => Rtype::A,
        Kind::Aaaa => Rtype::AAAA,
        Kind::Mx => Rtype::MX,
        Kind::Txt => Rtype::TXT,
        Kind::Ptr => Rtype::PTR,
        Kind::Ns => Rtype::NS,
        Kind::Tlsa => Rtype::TLSA,
    }
}

/// A name as labels; what stands between dots is taken as octets.  The root is none that is asked
/// for.
fn name_of(text: &str) -> Option<Name<Vec<u8>>> {
    let mut name = NameBuilder::new_vec();
    if text.split('.').any(str::is_empty) {
        return None;
    }
    for label in text.split('.') {
        name.append_label(label.as_bytes()).ok()?;
    }
    name.into_name().ok()
}

/// A name as text, in lower case; None if a label has other octets than a host name may have in
/// practice.
fn text_of(name: &Parsed<'_>) -> Option<String> {
    let name: Name<Vec<u8>> = name.try_flatten_into().ok()?;
    let mut text = String::new();
    for label in name.iter().filter(|label| !label.is_root()) {
        let label = label.as_slice();
        if !label.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_/".contains(octet)) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|octet| char::from(octet.to_ascii_lowercase())));
    }
    Some(text)
}

/// For the fuzz target: any octets, read as an answer to a question, whatever their id.
pub(crate) fn read_any(octets: &[u8], question: &Question) -> Option<Answer> {
    let id = octets.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    match read(octets, question, id, false) {
        Response::Answer(answer) => Some(answer),
        _ => None,
    }
}
