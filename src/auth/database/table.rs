//! THE table of databases.

use super::driver::{Connect, Driver};
#[cfg(feature = "mysql")]
use super::mysql;
#[cfg(feature = "postgresql")]
use super::postgresql;
#[cfg(feature = "sqlite")]
use super::sqlite;

macro_rules! built {
    ($feature:literal, $connect:path) => {{
        #[cfg(feature = $feature)]
        let connect: Option<Connect> = Some($connect);
        #[cfg(not(feature = $feature))]
        let connect: Option<Connect> = None;
        connect
    }};
}

/// THE table of databases.
pub(super) static DRIVERS: [Driver; 3] = [
    Driver {
        names: &["sqlite"],
        connect: built!("sqlite", sqlite::connect),
        port: 0,
        parameter: |_| "?".to_owned(),
    },
    Driver {
        names: &["pg", "postgresql"],
        connect: built!("postgresql", postgresql::connect),
        port: 5432,
        parameter: |number| format!("${number}"),
    },
    Driver {
        names: &["mysql", "mariadb"],
        connect: built!("mysql", mysql::connect),
        port: 3306,
        parameter: |_| "?".to_owned(),
    },
];
