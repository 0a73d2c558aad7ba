//! The codes of verdicts.

use std::fmt;

/// qpsmtpd's return codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// I have no opinion: ask the next plugin.  Always allowed.
    Declined,
    /// Accepted; no further plugin is asked.
    Ok,
    /// Refused for good, 5xx.
    Deny,
    /// Refused for now, 4xx.
    DenySoft,
    /// Refused for good, and the connection is closed.
    DenyDisconnect,
    /// Refused for now, and the connection is closed.
    DenySoftDisconnect,
    /// The plugin has answered the client itself.
    Done,
}

/// Every code with its name in configuration files and logs.
const NAMES: [(Code, &str); 7] = [
    (Code::Declined, "DECLINED"),
    (Code::Ok, "OK"),
    (Code::Deny, "DENY"),
    (Code::DenySoft, "DENYSOFT"),
    (Code::DenyDisconnect, "DENY_DISCONNECT"),
    (Code::DenySoftDisconnect, "DENYSOFT_DISCONNECT"),
    (Code::Done, "DONE"),
];

impl Code {
    /// Its name, `DENY_DISCONNECT`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The code of that name, as in `config/hosts_allow`; DENYHARD is the old name of
    /// DENY_DISCONNECT.
    pub fn from_name(name: &str) -> Option<Code> {
        if name == "DENYHARD" {
            return Some(Code::DenyDisconnect);
        }
        NAMES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Is this one of the four refusals?
    pub fn is_deny(self) -> bool {
        !matches!(self, Code::Declined | Code::Ok | Code::Done)
    }

    /// Is it a refusal for now?
    pub fn is_soft(self) -> bool {
        matches!(self, Code::DenySoft | Code::DenySoftDisconnect)
    }

    /// Does it close the connection?
    pub fn disconnects(self) -> bool {
        matches!(self, Code::DenyDisconnect | Code::DenySoftDisconnect)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_codes() {
        for (code, name) in NAMES {
            assert_eq!(code.name(), name);
            assert_eq!(Code::from_name(name), Some(code));
        }
        assert_eq!(Code::from_name("DENYHARD"), Some(Code::DenyDisconnect));
        assert_eq!(Code::from_name("deny"), None);
    }
}
