//! Key exchange on P-521: Go offers this curve and ring has none. In TLS 1.2 a server whose own key is on P-521 refuses
//! a client that does not list the curve (RFC 8422, 5.1), so without it such registries would seem broken.

use p521::ecdh::diffie_hellman;
use p521::{NistP521, PublicKey, SecretKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// The bytes of a number below the curve's order, and the bits of the first of them that may be set.
const BYTES: usize = 66;
const FIRST_BITS: u8 = 0b1;

/// The curve, as the TLS library takes it.
#[derive(Debug)]
pub(super) struct P521;

struct Exchange {
    secret: SecretKey,
    public: Box<[u8]>,
}

impl SupportedKxGroup for P521 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let random = SystemRandom::new();
        loop {
            let mut bytes = [0; BYTES];
            random.fill(&mut bytes).map_err(|_| GetRandomFailed)?;
            bytes[0] &= FIRST_BITS;
            // Zero and what is not below the order are drawn again: once in 2^260 draws.
            let Ok(secret) = SecretKey::from_slice(&bytes) else { continue };
            let public = p521::Sec1Point::from(secret.public_key()).as_bytes().into();
            return Ok(Box::new(Exchange { secret, public }));
        }
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        /// The mark of an uncompressed point, the only form that TLS 1.3 has (RFC 8446, 4.2.8.2).
        const UNCOMPRESSED: u8 = 4;
        let refused = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        if peer.first() != Some(&UNCOMPRESSED) {
            return Err(refused);
        }
        let peer = PublicKey::from_sec1_bytes(peer).map_err(|_| refused)?;
        let shared = diffie_hellman::<NistP521>(self.secret.to_nonzero_scalar(), *peer.as_affine());
        Ok(SharedSecret::from(shared.raw_secret_bytes().as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}
