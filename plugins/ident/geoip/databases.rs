//! The databases: which there are, and what they say of an address.

use std::net::IpAddr;
use std::path::PathBuf;

use super::Location;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::Args;
use crate::net::{Database, file_named};

/// Where databases are looked for.
const FOLDERS: [&str; 3] = ["/usr/local/share/GeoIP", "/var/lib/GeoIP", "/usr/share/GeoIP"];

/// Their names; the first one that is there counts.
const PLACES: [&str; 6] = [
    "GeoIP2-City.mmdb",
    "GeoLite2-City.mmdb",
    "dbip-city-lite.mmdb",
    "GeoIP2-Country.mmdb",
    "GeoLite2-Country.mmdb",
    "dbip-country-lite.mmdb",
];
const NETWORKS: [&str; 3] = ["GeoIP2-ISP.mmdb", "GeoLite2-ASN.mmdb", "dbip-asn-lite.mmdb"];

/// What is known of an address.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) country: Option<String>,
    pub(super) country_name: Option<String>,
    pub(super) continent: Option<String>,
    pub(super) city: Option<String>,
    pub(super) location: Option<Location>,
    pub(super) asn: Option<u32>,
    pub(super) asn_name: Option<String>,
}

/// One of places, one of networks, or only one of these.
pub(super) struct Databases {
    places: Option<Database>,
    networks: Option<Database>,
}

impl Databases {
    /// Opens what the arguments name, or what there is.
    ///
    /// # Errors
    /// There is none, or one that is none.
    pub(super) fn open(args: &Args, config: &Config) -> Result<Databases> {
        let folders = match args.named("db_dir") {
            Some(folder) => vec![config.expand(folder)],
            None => FOLDERS.map(PathBuf::from).to_vec(),
        };
        let first = |names: &[&str]| {
            let files =
                folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
            files.into_iter().find(|file| file.exists())
        };
        let open = |name: &str, names: &[&str]| {
            let file = args.named(name).map(|file| file_named(file, config));
            file.or_else(|| first(names)).map(|file| Database::open(&file)).transpose()
        };
        let found =
            Databases { places: open("places", &PLACES)?, networks: open("asn", &NETWORKS)? };
        if found.places.is_none() && found.networks.is_none() {
            let folders: Vec<_> = folders.iter().map(|one| one.display().to_string()).collect();
            let folders = folders.join(", ");
            return Err(Error::new(format!("no database such as {} in {folders}", PLACES[1])));
        }
        Ok(found)
    }

    /// Is there one of networks?
    pub(super) fn know_networks(&self) -> bool {
        self.networks.is_some()
    }

    /// Opens those files that are others now.  Returns whether there are any.
    ///
    /// # Errors
    /// One of them cannot be used, told once; the old one stays.
    pub(super) fn refresh(&self) -> Result<bool> {
        let mut are_new = false;
        for database in [&self.places, &self.networks].into_iter().flatten() {
            are_new |= database.refresh()?;
        }
        Ok(are_new)
    }

    /// What they say of an address.
    ///
    /// # Errors
    /// One of them cannot be read there.
    pub(super) fn find(&self, ip: IpAddr) -> Result<Place> {
        let mut place = Place::default();
        if let Some(database) = &self.places {
            read_place(database, ip, &mut place)?;
        }
        if let Some(database) = &self.networks {
            read_network(database, ip, &mut place)?;
        }
        Ok(place)
    }
}

fn read_place(database: &Database, ip: IpAddr, place: &mut Place) -> Result<()> {
    database.look_up(ip, |record| {
        place.country = record.text(&["country", "iso_code"])?;
        place.country_name = record.text(&["country", "names", "en"])?;
        place.continent = record.text(&["continent", "code"])?;
        place.city = record.text(&["city", "names", "en"])?;
        let north = record.float(&["location", "latitude"])?;
        place.location = north.zip(record.float(&["location", "longitude"])?);
        Ok(())
    })
}

fn read_network(database: &Database, ip: IpAddr, place: &mut Place) -> Result<()> {
    database.look_up(ip, |record| {
        place.asn = record.number(&["autonomous_system_number"])?;
        place.asn_name = record.text(&["autonomous_system_organization"])?;
        Ok(())
    })
}
