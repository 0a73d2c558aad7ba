//! The integration tests: the real daemons, spoken to over real sockets.
//!
//! `cargo test --test t` runs all of them; `cargo test --test t kills` those whose name has
//! `kills` in it. Every test has a folder and a port of its own, so all may run at once. Run as
//! root, the tests install the Debian packages they need and the daemons give up root for
//! `nobody`; run by anybody else, a test whose package is missing says that it was skipped.

// What the tests stand on: a configuration folder, a running daemon, an SMTP client.
mod harness;

// Dialogues: each file transcripts/*.txt is played against the three process models.
mod transcripts;

// The daemons as processes: real mail clients, super-servers, supervisors, signals, limits.
mod processes;

// Queue plugins that hand messages to other servers.
mod backends;

// Rates.
mod limit;

// AUTH, where other programs know the users.
mod auth;

// Scanners.
mod rspamd;
mod scanners;
mod virus;

// Filters of OpenSMTPD.
mod filters;

// Filters that were written for Sendmail and Postfix.
mod milter;

// What may be a password, and where it must not be.
mod secrets;

// The events in the log.
mod events;

// The status, and what is counted for it.
mod status;

// What the daemons log, and what programs that read the log make of it.
mod logging;

// Plugins whose doing a transcript cannot show.
mod plugins;

// Daemons as units of a service manager.
mod units;

// Lists of plugins by client.
mod peers;

// What plugins remember.
mod store;

// Who was naughty.
mod karma;

// Greylisting, with what Perl qpsmtpd has remembered.
mod greylisting;

// Plugins in a crate of its own, which a site keeps.
mod site;

// Perl plugins, compared with Perl qpsmtpd.
mod perl;

// Plugins that panic, err or loop.
mod failing;

// Looking at a configuration without a start.
mod looking;

// What a site of Perl qpsmtpd would be here.
mod migration;

// Starting, and refusing to start; privileges, systemd, titles, limits of the system.
mod startup;

// Queue plugins and the programs of this machine that they hand messages to.
mod programs;

// Perl plugins.
mod perl_host;

// Messages octet for octet, bare line ends, limits, timeouts, changing configuration.
mod messages;

// Clients that bring no mail on.
mod progress;

// Messages in chunks: BDAT.
mod chunks;

// One message in, one message out, or a refusal: never two.
mod smuggling;

// Hostile text in commands, replies, header sections and logs.
mod injection;

// The fuzz targets, without a fuzzer.
mod mutations;

// Addresses outside ASCII: SMTPUTF8.
mod smtputf8;

// LMTP as a server.
mod lmtp;

// The tables against the tree, and the tree against its rules.
mod tables;

// The manuals of the plugins against the plugins.
mod manuals;

// The arguments of plugins: what is refused, and what Perl configurations have.
mod arguments;

// No ring of files that use each other.
mod rings;

// Licences and sources of what this is built from.
mod dependencies;

// TLS: STARTTLS and port 465, certificates, tickets, real clients.
mod tls;

// Who may relay, and who may not.
mod relaying;

// Who sent a message: DKIM and DMARC between two daemons, and the domain name system.
mod origin;

// What is known of clients from outside: p0f, geoip.
mod ident;

// The PROXY protocol.
mod proxy;

// What root does before it becomes the account, and what sessions have of root's.
mod root;

// XCLIENT, also between two daemons.
mod xclient;

// What goes wrong around the daemons: full disks, missing descriptors, slow clients.
mod faults;

// Processes are killed under load, and no acknowledged message is lost.
mod kills;

// Settings and lists that cannot be read.
mod settings;

// What is installed: names, manuals, units, scripts.
mod shipping;

// What a log says of the mail of a time: --report.
mod report;
