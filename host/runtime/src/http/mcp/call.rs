//! One call of a tool, as a request for its function.

use std::sync::Arc;

use ::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rmcp::model::{CallToolResult, ContentBlock, ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use serde_json::Value;

use super::answer::{self, Items, Shape};
use super::events::Reader;
use crate::audit::Trace;
use crate::call::RequestId;
use crate::component::Component;
use crate::http::request::{self, Visitor};
use crate::http::server::Shared;
use crate::typed::Function;

/// Length of a function's answer, in bytes, that is one tool's result: it is held in memory as a whole, and models read no more.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A call of a function.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    pub(super) visitor: &'a Visitor,
    pub(super) id: RequestId,
    pub(super) component: &'a Component,
    pub(super) function: &'a Arc<Function>,
}

/// Who is told of a stream's items while they come.
pub(super) struct Progress {
    pub(super) client: Peer<RoleServer>,
    pub(super) token: ProgressToken,
}

impl Call<'_> {
    /// Calls it. Dropping this stops the function.
    pub(super) async fn run(self, arguments: Bytes, progress: Option<Progress>) -> CallToolResult {
        let Ok(request) = self.request(arguments) else { return failed("The function's path is no path.") };
        let trace = Trace::begin(&self.shared.sandbox.audit, self.id.clone(), self.visitor.client, &request);
        trace.is_of(&self.visitor.caller);
        let response = Box::pin(request::serve(self.shared, self.visitor, request, &trace)).await;
        let response = trace.end(response).await;
        match Shape::of(self.function) {
            Shape::Stream(streamed, joined) if is_stream(response.headers()) => {
                self.follow(response.into_body(), Items::new(streamed, joined), progress).await
            }
            shape => self.whole(response, shape).await,
        }
    }

    fn request(&self, arguments: Bytes) -> Result<Request<Body>, ::http::Error> {
        let target = format!("/c/{}/{}", self.component.name(), self.function.path);
        let request = Request::builder().method(Method::POST).uri(target);
        request.header(header::CONTENT_TYPE, "application/json").body(Body::from(arguments))
    }

    async fn whole(&self, response: Response<Body>, shape: Shape<'_>) -> CallToolResult {
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return self.too_long(),
            Err(_) => return failed("The answer broke off."),
        };
        match serde_json::from_slice(&body) {
            Ok(value) if head.status == StatusCode::OK => shape.whole(value, &body),
            _ => answer::failure(&body),
        }
    }

    /// Reads a stream to its end and tells of each item.
    async fn follow(&self, mut body: Body, mut items: Items, progress: Option<Progress>) -> CallToolResult {
        let (mut reader, mut length, mut count) = (Reader::default(), 0, 0_u32);
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(bytes) = frame.into_data() else { continue };
            length += bytes.len();
            if length > ANSWER_BYTES_MAX {
                return self.too_long();
            }
            reader.feed(&bytes);
            while let Some(event) = reader.next() {
                match event.name.as_str() {
                    "error" => return answer::failure(&event.data),
                    "done" => return items.end(serde_json::from_slice(&event.data).unwrap_or_default()),
                    _ => {}
                }
                let Ok(item) = serde_json::from_slice::<Value>(&event.data) else { continue };
                count = count.saturating_add(1);
                if let Some(progress) = &progress
                    && progress.tell(count, &item).await.is_err()
                {
                    return failed("The client has left.");
                }
                items.add(item);
            }
        }
        failed("The answer broke off.")
    }

    fn too_long(&self) -> CallToolResult {
        let (name, path) = (self.component.name(), &self.function.path);
        failed(&format!(
            "The answer is longer than {ANSWER_BYTES_MAX} bytes, more than a tool answers: POST /c/{name}/{path} answers it."
        ))
    }
}

impl Progress {
    async fn tell(&self, count: u32, item: &Value) -> Result<(), rmcp::ServiceError> {
        let told = ProgressNotificationParam::new(self.token.clone(), count.into()).with_message(answer::text(item));
        self.client.notify_progress(told).await
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

fn failed(message: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(message)])
}
