//! Plugins: what one is, where a name is looked up, and reading `config/plugins`.

pub mod absent;
mod confinement;
mod line;
mod load;
mod lookup;
mod row;

pub use self::confinement::{Confinement, confinement};
pub use self::line::load_line;
pub(crate) use self::load::look;
pub use self::load::{check, load};
pub use self::lookup::{absent, add, all, find};
pub use self::row::{Alias, Plugin};
