//! The plain use case.

use std::convert::Infallible;
use std::future::Future;

use centinela_domain::Coordinates;

use crate::batch::Batch;
use crate::deliver::UseCase;
use crate::intake::Rejection;

/// A [`UseCase`] that has no figures of its own and nothing to say after the dead letters were written: how a value is read, and what is
/// done with a batch. Whatever fails is named by [`Batch::fail`].
pub trait Handler: Send + Sync {
    /// What a record says.
    type Content: Send;

    /// Reads a record's value.
    ///
    /// # Errors
    /// When it can never be handled: it is dead-lettered with this reason.
    fn decode(&self, value: &[u8]) -> Result<Self::Content, Rejection>;

    /// Handles the records that could be decoded: each is done when this returns, or said to have failed ([`Batch::fail`]), or
    /// dead-lettered ([`Batch::dead_letter`]).
    fn handle(&self, batch: &mut Batch<Self::Content>) -> impl Future<Output = ()> + Send;
}

impl<H: Handler> UseCase for H {
    type Content = H::Content;
    type Handled = ();
    type Report = ();
    type Error = Infallible;

    fn decode(&self, value: &[u8], _source: Coordinates) -> Result<H::Content, Rejection> {
        Handler::decode(self, value)
    }

    async fn handle(&self, batch: &mut Batch<H::Content>) -> Result<(), Infallible> {
        Handler::handle(self, batch).await;
        Ok(())
    }

    async fn complete(&self, _batch: &mut Batch<H::Content>, (): ()) -> Result<(), Infallible> {
        Ok(())
    }
}
