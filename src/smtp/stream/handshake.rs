//! The handshake of TLS, at the port of TLS or after STARTTLS.

use std::sync::Arc;

use rustls::ServerConfig;

use super::{End, Stream};
use crate::smtp::tls::{Failed, Tls};
use crate::smtp::waits::{State, Wait};
use crate::state::Encryption;
use crate::sys::deadline;

impl Stream {
    /// Takes part in a TLS handshake.  What the client sent ahead, before it could know that
    /// anybody would listen in the clear, is forgotten (RFC 3207 4.2).
    ///
    /// # Errors
    /// The handshake failed or was not done in time; the connection is of no use then.
    pub(crate) fn start_tls(&mut self, config: Arc<ServerConfig>) -> Result<Encryption, Failed> {
        self.flush();
        self.forget_input();
        let mut wait = self.waits.begin(State::Handshake);
        let done = self.handshake(config, &mut wait);
        self.waits.end(&wait);
        if done.is_err() {
            self.broken.get_or_insert(End::Closed);
        }
        done
    }

    fn handshake(
        &mut self,
        config: Arc<ServerConfig>,
        wait: &mut Wait,
    ) -> Result<Encryption, Failed> {
        let mut tls = Tls::new(config)?;
        while tls.is_handshaking() {
            self.is_to_wait();
            let came = self.unless_asked(State::Handshake, |stream| stream.wait_for_input(wait));
            came.map_err(|end| match end {
                End::Timeout => Failed::new("it took too long"),
                End::Stopping => Failed::new("the client was asked to leave"),
                _ => Failed::new("the client went away"),
            })?;
            let (input, _, mut writer) = self.parts();
            tls.receive(input, &mut writer)?;
        }
        tls.send(&mut self.parts().2).map_err(Failed::new)?;
        let encryption = tls.encryption();
        if let Ok(output) = self.output().try_clone_to_owned() {
            deadline::set_farewell(tls.farewell(output, deadline::REPLY));
        }
        self.tls = Some(tls);
        Ok(encryption)
    }

    /// What this TLS connection has and no other one (RFC 9266); None where there is none.
    pub(crate) fn channel_binding(&self) -> Option<Vec<u8>> {
        self.tls.as_ref()?.channel_binding()
    }
}
