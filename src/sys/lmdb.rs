//! LMDB's files, opened.
#![allow(unsafe_code)]

use std::mem::transmute;
use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{
    CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, Error, MdbError, Result, RoTxn, RwTxn,
    WithoutTls,
};

/// A database of keys and values, by which processes share a file.
///
/// A process must not keep it across [`super::fork::fork`]: who opens it makes no processes of that
/// kind.
#[derive(Debug)]
pub struct Lmdb {
    database: Database<'static, Bytes, Bytes>,
    env: Env<WithoutTls>,
}

impl Lmdb {
    /// Opens the database in `folder`, and makes it where there is none.  It may grow to `size` octets;
    /// so many `readers` may look at it at the same time.  What is written is there for all processes at
    /// once, but not safe from a power cut before [`Env::force_sync`].
    ///
    /// # Errors
    /// What the file system says, or that the file there is none of this kind.
    pub fn open(folder: &Path, size: usize, readers: u32) -> Result<Lmdb> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(size).max_readers(readers);
        // SAFETY: the files are in a folder of our own, where nobody but LMDB writes, with its locks:
        // without NO_SYNC only a machine that stops could leave them damaged, too, for which they are
        // checked by a process that may come to harm.
        let env = unsafe { options.flags(EnvFlags::NO_SYNC).open(folder) }?;
        let opened = env.open_databases_and_commit(env.read_txn()?, |opener, reading| {
            let found = opener.open_database::<Bytes, Bytes>(reading, None)?;
            found.map(CommitOrAbort::<_, ()>::Commit).ok_or(Error::Mdb(MdbError::NotFound))
        });
        let database = opened?.commit().ok_or(Error::Mdb(MdbError::NotFound))?;
        // SAFETY: only the lifetime changes, by which a database is used no longer than what it is in:
        // it is dropped together with that, and never handed out.
        let database = unsafe {
            transmute::<Database<'_, Bytes, Bytes>, Database<'static, Bytes, Bytes>>(database)
        };
        Ok(Lmdb { database, env })
    }

    /// What is known of the files.
    pub fn env(&self) -> &Env<WithoutTls> {
        &self.env
    }

    /// The value of `key`, within a transaction.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn get<'a>(&self, within: &'a RoTxn<'_>, key: &[u8]) -> Result<Option<&'a [u8]>> {
        self.database.get(within, key)
    }

    /// Gives `key` a value.
    ///
    /// # Errors
    /// There is no room, or the file is damaged.
    pub fn put(&self, within: &mut RwTxn<'_>, key: &[u8], value: &[u8]) -> Result<()> {
        self.database.put(within, key, value)
    }

    /// Removes `key`.  Was it there?
    ///
    /// # Errors
    /// There is no room, or the file is damaged.
    pub fn delete(&self, within: &mut RwTxn<'_>, key: &[u8]) -> Result<bool> {
        self.database.delete(within, key)
    }

    /// The keys from `start` on, and their values, in order.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn from<'a>(
        &self,
        within: &'a RoTxn<'_>,
        start: &[u8],
    ) -> Result<impl Iterator<Item = Result<(&'a [u8], &'a [u8])>>> {
        self.database.range(within, &(Bound::Included(start), Bound::Unbounded))
    }

    /// How many entries there are.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn len(&self, within: &RoTxn<'_>) -> Result<u64> {
        self.database.len(within)
    }
}
