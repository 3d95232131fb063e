//! Keeping the store: backup, verification, export, import, and what audit streams give out.
//!
//! All of it runs on threads that may block, and borrows the store for a page at a time, so that a bus can close in between; only
//! a backup borrows it for as long as it takes.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;

use busway_persistence::{
    Archive, ArchiveError, Archived, Archiving, AuditHead, Backup, BackupError, Export, ExportError,
    Exported, Exporting, Import, ImportError, Imported, Importing, ReadError, Store, Verified, Verifying,
};
use tokio_util::sync::CancellationToken;

use super::{Bus, BusCore};
use crate::log::Log;

/// Why something that was asked of the store came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError<E: std::error::Error + 'static> {
    /// The bus has no store.
    #[error("the bus lives in memory and keeps no events; open one with Bus::open(path)")]
    NoStore,
    /// The bus was closed before or meanwhile.
    #[error("the bus is closed; ask again when its store is opened again")]
    Closed,
    /// It failed.
    #[error(transparent)]
    Failed(E),
}

/// The store, lent in steps.
struct Lent {
    log: Arc<Log>,
    given_up: CancellationToken,
}

impl Lent {
    /// One step. `None`: the store is closed, or nobody waits any longer.
    fn step<R>(&self, step: impl FnOnce(&Store) -> R) -> Option<R> {
        if self.given_up.is_cancelled() {
            return None;
        }
        self.log.with(step)
    }
}

impl BusCore {
    /// Runs `work` on a thread that may block. It ends at its next step when the future is dropped.
    async fn keep<R: Send + 'static, E: std::error::Error + Send + 'static>(
        &self,
        work: impl FnOnce(&Lent) -> Option<Result<R, E>> + Send + 'static,
    ) -> Result<R, StoreError<E>> {
        let log = self.log.as_ref().ok_or(StoreError::NoStore)?;
        let given_up = CancellationToken::new();
        let lent = Lent { log: Arc::clone(log), given_up: given_up.clone() };
        let _ends_with_this = given_up.drop_guard();
        match self.services.runtime.spawn_blocking(move || work(&lent)).await {
            Ok(Some(result)) => result.map_err(StoreError::Failed),
            Ok(None) => Err(StoreError::Closed),
            Err(error) => match error.try_into_panic() {
                // Of the reader or writer that the caller gave.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StoreError::Closed),
            },
        }
    }
}

impl Bus {
    /// Copies the store, as the last commit left it, into a directory that is empty or not there. It is opened like any store, and *is*
    /// this store as it was, identity included. Returns when the copy is synced. Everything goes on meanwhile; what that costs
    /// is said in the guide to operating the store. One is made at a time: another waits for it, and so does a shutdown.
    ///
    /// # Errors
    /// [`BackupError`]: the directory holds something, cannot be written or has too little room. Nothing is left there then.
    ///
    /// # Cancel safety
    /// A copy that has begun goes on to its end when the future is dropped.
    pub async fn backup(&self, to: impl Into<PathBuf>) -> Result<Backup, StoreError<BackupError>> {
        let to = to.into();
        self.core().keep(move |lent| lent.step(|store| store.backup(&to))).await
    }

    /// Reads and checks every record of the store and all that is kept beside them, and follows the chains of audit streams, while everything goes on.
    /// See [`Store::verify`](busway_persistence::Store::verify) for what that is.
    ///
    /// # Errors
    /// [`ReadError`], when the system refuses; what is damaged is part of what it finds.
    ///
    /// # Cancel safety
    /// Safe: dropping the future ends it.
    pub async fn verify(&self) -> Result<Verified, StoreError<ReadError>> {
        self.verify_against(Vec::new()).await
    }

    /// The same, with heads of audit streams that were kept where the store is not: what they vouch for is there and unchanged, or told of.
    ///
    /// # Errors
    /// As [`verify`](Bus::verify).
    ///
    /// # Cancel safety
    /// Safe: dropping the future ends it.
    pub async fn verify_against(&self, heads: Vec<AuditHead>) -> Result<Verified, StoreError<ReadError>> {
        let verify = move |lent: &Lent| {
            let mut verifying = lent.step(|store| Verifying::begin(store, heads))?;
            loop {
                match lent.step(|store| verifying.step(store))? {
                    Ok(true) => {}
                    Ok(false) => return Some(Ok(verifying.finish())),
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        self.core().keep(verify).await
    }

    /// Writes a stream, or a part of it, as JSON Lines, and gives the writer back, flushed. What is in it ends where the stream ended when
    /// it began. Memory: a page.
    ///
    /// # Errors
    /// [`ExportError`]. What was written before it, whole lines, is good.
    ///
    /// # Panics
    /// When the writer does.
    ///
    /// # Cancel safety
    /// Dropping the future ends it; what was written stays.
    pub async fn export<W: Write + Send + 'static>(
        &self,
        export: Export,
        mut writer: W,
    ) -> Result<(Exported, W), StoreError<ExportError>> {
        let write = move |lent: &Lent| {
            let mut exporting = match lent.step(|store| Exporting::begin(store, export))? {
                Ok(exporting) => exporting,
                Err(error) => return Some(Err(error)),
            };
            let mut lines = Vec::new();
            loop {
                // The writer may be slow: the store is not lent to it.
                let written = match lent.step(|store| exporting.page(store, &mut lines))? {
                    Ok(true) => writer.write_all(&lines),
                    Ok(false) => match writer.flush() {
                        Ok(()) => return Some(Ok((exporting.exported().clone(), writer))),
                        Err(error) => Err(error),
                    },
                    Err(error) => return Some(Err(error)),
                };
                if let Err(error) = written {
                    return Some(Err(error.into()));
                }
                lines.clear();
            }
        };
        self.core().keep(write).await
    }

    /// Stores lines in their order, ids and all, and returns when all are synced. Publish middleware does not see them; subscriptions handle
    /// them like others. Within the window of ids nothing is stored twice, so an import that was cut short is repeated as a whole.
    ///
    /// # Errors
    /// [`ImportError`], with the number of the line and what was done before it.
    ///
    /// # Panics
    /// When the reader does.
    ///
    /// # Cancel safety
    /// Dropping the future ends it behind the commit that is under way.
    pub async fn import<R: BufRead + Send + 'static>(
        &self,
        import: Import,
        mut reader: R,
    ) -> Result<Imported, StoreError<ImportError>> {
        let mut importing = Importing::begin(import);
        let clock = self.core().services.clock.clone();
        let read = move |lent: &Lent| loop {
            let is_more = importing.fill(&mut reader);
            match lent.step(|store| importing.store(store, clock.utc()))? {
                Ok(()) if is_more => {}
                Ok(()) => return Some(Ok(importing.finish())),
                Err(error) => return Some(Err(error)),
            }
        };
        self.core().keep(read).await
    }

    /// Writes what of an audit stream is not in the folder yet, as sealed files that never change again. Call it now and then, before
    /// retention takes what is not archived. A stream is archived into a folder by one at a time; several streams may be.
    ///
    /// # Errors
    /// [`ArchiveError`]; [`ArchiveError::Busy`] while another archiving of the stream into the folder is under way, in whatever process. Files that have their names are whole, and the next archiving goes on behind them.
    ///
    /// # Cancel safety
    /// Dropping the future ends it behind the file that is under way.
    pub async fn archive(&self, archive: Archive) -> Result<Archived, StoreError<ArchiveError>> {
        let write = move |lent: &Lent| {
            let mut archiving = match lent.step(|store| Archiving::begin(store, archive))? {
                Ok(archiving) => archiving,
                Err(error) => return Some(Err(error)),
            };
            loop {
                match lent.step(|store| archiving.file(store))? {
                    Ok(true) => {}
                    Ok(false) => return Some(Ok(archiving.archived().clone())),
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        self.core().keep(write).await
    }

    /// The newest head of each partition of an audit stream that has one, as it lies in the store. `None` when it is no audit stream.
    /// Keep them where the store is not; [`BusBuilder::on_audit_head`](crate::BusBuilder::on_audit_head) is told of each.
    ///
    /// # Errors
    /// [`ReadError`].
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn audit_heads(
        &self,
        stream: impl Into<String>,
    ) -> Result<Option<Vec<AuditHead>>, StoreError<ReadError>> {
        let stream = stream.into();
        self.core().keep(move |lent| lent.step(|store| store.audit_heads(&stream))).await
    }
}
