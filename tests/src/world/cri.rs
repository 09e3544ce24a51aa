//! As much of a kubelet as the tests need: it pulls through the CRI.

use std::path::Path;
use std::time::Duration;

use pullscope_proto::v1::image_service_client::ImageServiceClient;
use pullscope_proto::v1::runtime_service_client::RuntimeServiceClient;
use pullscope_proto::v1::{AuthConfig, ImageSpec, ListImagesRequest, PullImageRequest, VersionRequest};
use tokio::runtime::{self, Runtime};
use tokio::time;
use tonic::Code;
use tonic::transport::Channel;

use crate::Fallible;

/// How long the CRI may take for an answer that costs it nothing.
const QUICK: Duration = Duration::from_secs(5);

/// A connection to a runtime's CRI.
#[derive(Debug)]
pub struct Cri {
    runtime: Runtime,
    channel: Channel,
}

/// How a pull ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Well.
    Done,
    /// It was refused, in these words.
    Refused(String),
    /// Not in the time that it was given.
    NoEnd,
}

impl Cri {
    /// Connects.
    pub fn connect(socket: &Path) -> Fallible<Cri> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let channel = runtime.block_on(containerd_client::connect(socket))?;
        Ok(Cri { runtime, channel })
    }

    /// Whether the CRI answers, or there is none: it listens before it is initialized, on every version, and refuses
    /// until then. Where containerd could not load it (a configuration that it refuses), nobody knows its service.
    pub fn is_settled(&self) -> bool {
        let mut images = ImageServiceClient::new(self.channel.clone());
        let answer = self
            .runtime
            .block_on(async { time::timeout(QUICK, images.list_images(ListImagesRequest::default())).await });
        match answer {
            Ok(Ok(_)) => true,
            Ok(Err(status)) => status.code() == Code::Unimplemented,
            Err(_) => false,
        }
    }

    /// The runtime's name and version.
    pub fn version(&self) -> Fallible<String> {
        let mut runtime = RuntimeServiceClient::new(self.channel.clone());
        let version = self.runtime.block_on(runtime.version(VersionRequest::default()))?.into_inner();
        Ok(format!("{} {}", version.runtime_name, version.runtime_version))
    }

    /// Pulls an image, with credentials where there are any.
    pub fn pull(&self, image: &str, auth: Option<AuthConfig>, patience: Duration) -> Pulled {
        let mut images = ImageServiceClient::new(self.channel.clone());
        let request = PullImageRequest { image: Some(ImageSpec { image: image.to_owned() }), auth };
        match self.runtime.block_on(async { time::timeout(patience, images.pull_image(request)).await }) {
            Ok(Ok(_)) => Pulled::Done,
            Ok(Err(status)) => Pulled::Refused(status.message().to_owned()),
            Err(_) => Pulled::NoEnd,
        }
    }
}
