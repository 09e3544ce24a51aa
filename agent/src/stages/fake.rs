//! A containerd for tests: the CRI by proto's server stubs, containerd's own services by hand, on a unix socket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use containerd_client::services::v1 as api;
use containerd_client::types;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use pullscope_proto::v1::image_service_server::{ImageService, ImageServiceServer};
use pullscope_proto::v1::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use pullscope_proto::v1::{
    Container, FilesystemIdentifier, FilesystemUsage, Image, ImageFsInfoRequest, ImageFsInfoResponse,
    ImageStatusRequest, ImageStatusResponse, ListContainersRequest, ListContainersResponse,
    ListImagesRequest, ListImagesResponse, PullImageRequest, PullImageResponse, RemoveImageRequest,
    RemoveImageResponse, StatusRequest, StatusResponse, VersionRequest, VersionResponse,
};
use tokio::net::UnixListener;
use tonic::body::Body;
use tonic::codegen::{Service, async_trait};
use tonic::{Request, Response, Status};

/// The image that a pull brings.
pub(super) const ID: &str = "sha256:1d";
const MANIFEST: &str = "sha256:3a";
/// What every digest reads as.
pub(super) const MANIFEST_BYTES: &[u8] =
    br#"{"config":{"digest":"sha256:1d","size":10},"layers":[{"digest":"sha256:1a","size":1000}]}"#;

/// What a pull does.
#[derive(Clone, Debug)]
pub(super) enum Pull {
    /// Brings the image, with blobs that came at this time.
    Brings(SystemTime),
    /// Fails.
    Fails(Status),
    /// Never answers.
    Hangs,
    /// Brings the image and never answers.
    BringsAndHangs,
}

/// What the runtime has and does.
#[derive(Debug)]
pub(super) struct State {
    pub(super) pull: Pull,
    pub(super) images: Vec<Image>,
    pub(super) containers: Vec<Container>,
    /// What was asked for: the pulls, the IDs removed, the names deleted.
    pub(super) pulled: Vec<PullImageRequest>,
    pub(super) removed: Vec<String>,
    pub(super) untagged: Vec<String>,
    /// The leases that there are.
    pub(super) leases: Vec<api::Lease>,
    /// When an image got a name, and when that was changed last; others have theirs since the epoch.
    pub(super) records: BTreeMap<String, (SystemTime, SystemTime)>,
    /// Absent: the CRI plugin is off.
    pub(super) cri: bool,
    /// Absent: another runtime than containerd.
    pub(super) containerd: bool,
    pub(super) plugins: Vec<api::Plugin>,
    /// What Status(verbose) says of the configuration.
    pub(super) config: Option<&'static str>,
    blobs_came: SystemTime,
}

/// A fake that listens until it is dropped.
pub(super) struct Fake {
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An image with these names.
pub(super) fn image(id: &str, tag: &str) -> Image {
    Image { id: id.to_owned(), repo_tags: vec![tag.to_owned()], repo_digests: vec![], size: 1 }
}

/// A plugin, with its folder.
pub(super) fn plugin(kind: &str, id: &str, root: &str) -> api::Plugin {
    api::Plugin {
        r#type: kind.to_owned(),
        id: id.to_owned(),
        exports: [("root".to_owned(), root.to_owned())].into(),
        ..api::Plugin::default()
    }
}

impl Fake {
    /// Listens.
    pub(super) fn start(pull: Pull) -> Fake {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("c.sock")).unwrap();
        let state = Arc::new(Mutex::new(State {
            pull,
            images: vec![],
            containers: vec![],
            pulled: vec![],
            removed: vec![],
            untagged: vec![],
            leases: vec![],
            records: BTreeMap::new(),
            cri: true,
            containerd: true,
            plugins: vec![
                plugin("io.containerd.content.v1", "content", "/c/content"),
                plugin("io.containerd.snapshotter.v1", "overlayfs", "/c/overlayfs"),
                plugin("io.containerd.snapshotter.v1", "zfs", "/c/zfs"),
                plugin("io.containerd.grpc.v1", "cri", ""),
            ],
            config: None,
            blobs_came: SystemTime::UNIX_EPOCH,
        }));
        let shared = Shared(Arc::clone(&state));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = shared.clone();
                let service = hyper::service::service_fn(move |request| shared.clone().answer(request));
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Fake { folder, state, task }
    }

    /// Its socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("c.sock")
    }

    /// Its state; not to be held over an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn answer(
        self,
        request: http::Request<hyper::body::Incoming>,
    ) -> Result<http::Response<Body>, std::convert::Infallible> {
        let path = request.uri().path().to_owned();
        let (cri, containerd) = {
            let state = self.state();
            (state.cri, state.containerd)
        };
        if cri && path.starts_with("/runtime.v1.ImageService/") {
            return ImageServiceServer::new(self).call(request).await;
        }
        if cri && path.starts_with("/runtime.v1.RuntimeService/") {
            return RuntimeServiceServer::new(self).call(request).await;
        }
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        // Five bytes of frame before the message.
        let answer = if containerd { self.own(&path, bytes.slice(5..)) } else { None };
        Ok(match answer {
            Some(Ok(message)) => reply(Some(message), "0"),
            Some(Err(code)) => reply(None, code),
            None => reply(None, "12"),
        })
    }

    /// containerd's own services: the answer's bytes, or a code; `None` where there is no such method.
    fn own(&self, path: &str, asked: Bytes) -> Option<Result<Vec<u8>, &'static str>> {
        let mut state = self.state();
        let message = match path.strip_prefix("/containerd.services.")? {
            "version.v1.Version/Version" => {
                api::VersionResponse { version: "1.7.0".to_owned(), revision: String::new() }.encode_to_vec()
            }
            "introspection.v1.Introspection/Plugins" => {
                api::PluginsResponse { plugins: state.plugins.clone() }.encode_to_vec()
            }
            "namespaces.v1.Namespaces/List" => api::ListNamespacesResponse::default().encode_to_vec(),
            "content.v1.Content/ListStatuses" => api::ListStatusesResponse::default().encode_to_vec(),
            "content.v1.Content/List" => api::ListContentResponse::default().encode_to_vec(),
            "content.v1.Content/Info" => {
                let digest = api::InfoRequest::decode(asked).unwrap().digest;
                let created_at = Some(state.blobs_came.into());
                let info = api::Info { digest, created_at, ..api::Info::default() };
                api::InfoResponse { info: Some(info) }.encode_to_vec()
            }
            "content.v1.Content/Read" => {
                api::ReadContentResponse { offset: 0, data: MANIFEST_BYTES.to_vec() }.encode_to_vec()
            }
            "leases.v1.Leases/Create" => {
                let api::CreateRequest { id, labels } = api::CreateRequest::decode(asked).unwrap();
                let lease = api::Lease { id, created_at: Some(SystemTime::now().into()), labels };
                state.leases.push(lease.clone());
                api::CreateResponse { lease: Some(lease) }.encode_to_vec()
            }
            "leases.v1.Leases/List" => api::ListResponse { leases: state.leases.clone() }.encode_to_vec(),
            "leases.v1.Leases/Delete" => {
                let id = api::DeleteRequest::decode(asked).unwrap().id;
                state.leases.retain(|lease| lease.id != id);
                vec![]
            }
            "leases.v1.Leases/ListResources" => api::ListResourcesResponse::default().encode_to_vec(),
            "images.v1.Images/Get" => {
                let name = api::GetImageRequest::decode(asked).unwrap().name;
                let known = state.images.iter().any(|image| {
                    image.id == name || image.repo_tags.contains(&name) || image.repo_digests.contains(&name)
                });
                if !known {
                    return Some(Err("5"));
                }
                let epoch = SystemTime::UNIX_EPOCH;
                let (created, updated) = state.records.get(&name).copied().unwrap_or((epoch, epoch));
                let target = types::Descriptor {
                    digest: MANIFEST.to_owned(),
                    size: 100,
                    ..types::Descriptor::default()
                };
                let image = api::Image {
                    target: Some(target),
                    created_at: Some(created.into()),
                    updated_at: Some(updated.into()),
                    ..api::Image::default()
                };
                api::GetImageResponse { image: Some(image) }.encode_to_vec()
            }
            "images.v1.Images/Delete" => {
                state.untagged.push(api::DeleteImageRequest::decode(asked).unwrap().name);
                vec![]
            }
            _ => return None,
        };
        Some(Ok(message))
    }
}

fn reply(message: Option<Vec<u8>>, code: &'static str) -> http::Response<Body> {
    let data = message.map(|message| {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap());
        frame.put_slice(&message);
        Frame::data(frame.freeze())
    });
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    let frames: Vec<Result<Frame<Bytes>, Status>> =
        data.into_iter().chain([Frame::trailers(trailers)]).map(Ok).collect();
    let body = Body::new(StreamBody::new(Frames(frames.into_iter())));
    http::Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// The frames as a stream, which needs no crate for it.
struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, Status>>);

impl tonic::codegen::tokio_stream::Stream for Frames {
    type Item = Result<Frame<Bytes>, Status>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

#[async_trait]
impl ImageService for Shared {
    async fn list_images(
        &self,
        _: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        Ok(Response::new(ListImagesResponse { images: self.state().images.clone() }))
    }

    async fn image_status(
        &self,
        request: Request<ImageStatusRequest>,
    ) -> Result<Response<ImageStatusResponse>, Status> {
        let name = request.into_inner().image.unwrap().image;
        let image = self.state().images.iter().find(|i| i.id == name || i.repo_tags.contains(&name)).cloned();
        Ok(Response::new(ImageStatusResponse { image }))
    }

    async fn pull_image(
        &self,
        request: Request<PullImageRequest>,
    ) -> Result<Response<PullImageResponse>, Status> {
        let request = request.into_inner();
        let name = request.image.clone().unwrap().image;
        let pull = self.state().pull.clone();
        self.state().pulled.push(request);
        if matches!(pull, Pull::Brings(_) | Pull::BringsAndHangs) {
            let mut state = self.state();
            let now = SystemTime::now();
            state.records.insert(name.clone(), (now, now));
            if state.images.iter().all(|image| image.id != ID) {
                state.records.insert(ID.to_owned(), (now, now));
            }
            match state.images.iter_mut().find(|image| image.id == ID) {
                Some(image) => image.repo_tags.push(name),
                None => state.images.push(image(ID, &name)),
            }
        }
        match pull {
            Pull::Brings(when) => {
                self.state().blobs_came = when;
                Ok(Response::new(PullImageResponse { image_ref: ID.to_owned() }))
            }
            Pull::Fails(status) => Err(status),
            Pull::Hangs | Pull::BringsAndHangs => std::future::pending().await,
        }
    }

    async fn remove_image(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        self.state().removed.push(request.into_inner().image.unwrap().image);
        Ok(Response::new(RemoveImageResponse {}))
    }

    async fn image_fs_info(
        &self,
        _: Request<ImageFsInfoRequest>,
    ) -> Result<Response<ImageFsInfoResponse>, Status> {
        let fs_id = Some(FilesystemIdentifier { mountpoint: "/c/zfs".to_owned() });
        let usage = FilesystemUsage { fs_id, ..FilesystemUsage::default() };
        Ok(Response::new(ImageFsInfoResponse { image_filesystems: vec![usage] }))
    }
}

#[async_trait]
impl RuntimeService for Shared {
    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(VersionResponse {
            runtime_name: "cri-o".to_owned(),
            runtime_version: "1.30.1".to_owned(),
            ..VersionResponse::default()
        }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let info = self.state().config.map(|config| ("config".to_owned(), config.to_owned()));
        Ok(Response::new(StatusResponse { status: None, info: info.into_iter().collect() }))
    }

    async fn list_containers(
        &self,
        _: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        Ok(Response::new(ListContainersResponse { containers: self.state().containers.clone() }))
    }
}
