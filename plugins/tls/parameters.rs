//! Protocols and cipher suites as `config/tls_protocols` and `config/tls_ciphers` name them.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ConfigBuilder, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, WantsVerifier,
};

use crate::config::Config;
use crate::error::{Error, Result};

/// What is offered.
pub(super) struct Parameters {
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
}

impl Parameters {
    /// Reads the two files.
    ///
    /// # Errors
    /// They leave nothing to offer.
    pub(super) fn read(config: &Config) -> Result<Parameters> {
        let versions = versions(&config.value("tls_protocols").unwrap_or_default());
        if versions.is_empty() {
            return Err(Error::new("tls_protocols leaves neither TLSv1.2 nor TLSv1.3"));
        }
        let suites = suites(&config.value("tls_ciphers").unwrap_or_default());
        let provider = CryptoProvider { cipher_suites: suites, ..ring::default_provider() };
        let parameters = Parameters { versions, provider: Arc::new(provider) };
        parameters.builder()?;
        Ok(parameters)
    }

    /// The start of a server's configuration.
    ///
    /// # Errors
    /// No cipher suite fits the protocols.
    pub(super) fn builder(&self) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>> {
        ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.versions)
            .map_err(|error| Error::new(format!("tls_protocols and tls_ciphers: {error}")))
    }
}

/// `TLSv1.2 TLSv1.3`, or as OpenSSL has it, `SSLv23:!SSLv2:!TLSv1_2`.
fn versions(text: &str) -> Vec<&'static SupportedProtocolVersion> {
    let words: Vec<String> = text
        .split(|c: char| c == ':' || c == ',' || c.is_whitespace())
        .map(|word| word.to_ascii_lowercase().replace('_', "."))
        .collect();
    let known: [(&str, &'static SupportedProtocolVersion); 2] =
        [("tlsv1.3", &TLS13), ("tlsv1.2", &TLS12)];
    let says = |word: &str| words.iter().any(|known| known == word);
    let named = known.iter().any(|(name, _)| says(name));
    known
        .into_iter()
        .filter(|(name, _)| !says(&format!("!{name}")) && (!named || says(name)))
        .map(|(_, version)| version)
        .collect()
}

/// The suites that are named; all of them where none is.
fn suites(text: &str) -> Vec<SupportedCipherSuite> {
    let all = ring::ALL_CIPHER_SUITES;
    let words: Vec<String> = text
        .split(|c: char| c == ':' || c == ',' || c.is_whitespace())
        .map(folded)
        .filter(|word| !word.is_empty())
        .collect();
    let is_named = |suite: &&SupportedCipherSuite| {
        let name = folded(suite.suite().as_str().unwrap_or_default());
        words.iter().any(|word| name == *word || name.strip_suffix("SHA256") == Some(word))
    };
    let named: Vec<_> = all.iter().filter(is_named).copied().collect();
    if named.is_empty() { all.to_vec() } else { named }
}

/// A suite's name without what OpenSSL, IANA and rustls spell differently.
fn folded(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("TLS13").or(name.strip_prefix("TLS")).unwrap_or(&name);
    name.replace("_WITH_", "_").chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        suites(text).iter().map(|suite| format!("{:?}", suite.suite())).collect()
    }

    #[test]
    fn protocols_are_read_as_openssl_writes_them() {
        for (text, found) in [
            ("", vec![&TLS13, &TLS12]),
            ("SSLv23:!SSLv2:!SSLv3", vec![&TLS13, &TLS12]),
            ("TLSv1.3", vec![&TLS13]),
            ("TLSv1_2 TLSv1_3", vec![&TLS13, &TLS12]),
            ("SSLv23:!TLSv1_3", vec![&TLS12]),
            ("!TLSv1_2:!TLSv1_3", vec![]),
        ] {
            let found: Vec<_> = found.iter().map(|version| version.version).collect();
            let got: Vec<_> = versions(text).iter().map(|version| version.version).collect();
            assert_eq!(got, found, "{text}");
        }
    }

    #[test]
    fn suites_are_found_in_three_spellings() {
        let all = ring::ALL_CIPHER_SUITES.len();
        assert_eq!(names("HIGH").len(), all);
        assert_eq!(names("HIGH:!aNULL:!MD5").len(), all);
        for text in [
            "ECDHE-RSA-AES256-GCM-SHA384",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "HIGH:ECDHE-RSA-AES256-GCM-SHA384",
        ] {
            assert_eq!(names(text), ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"], "{text}");
        }
        assert_eq!(names("TLS_AES_128_GCM_SHA256"), ["TLS13_AES_128_GCM_SHA256"]);
        assert_eq!(
            names("ECDHE-ECDSA-CHACHA20-POLY1305"),
            ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"]
        );
    }
}
