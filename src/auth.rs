//! Who may authenticate: what plugins share that know passwords, or ask those who know them.

pub(crate) mod back_end;
pub(crate) mod database;
pub(crate) mod passwords;
pub(crate) mod settings;
