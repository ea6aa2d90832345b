//! The methods of the protocol that this server knows: tools.

use std::sync::Arc;

use ::http::request::Parts;
use bytes::Bytes;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CustomRequest, CustomResult, ErrorCode, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};

use super::call::{Call, Progress};
use super::calls::{Calls, Key};
use super::{Arguments, tools};
use crate::call::RequestId;
use crate::http::request::Visitor;
use crate::http::server::Shared;

/// Nobody waits for what this says: the client has cancelled the call, or left.
const CANCELLED: ErrorCode = ErrorCode(-32800);

/// The methods that are answered.
const METHODS: [&str; 5] = ["initialize", "server/discover", "ping", "tools/list", "tools/call"];

/// Answers one request.
#[derive(Clone)]
pub(super) struct Handler {
    shared: Arc<Shared>,
    calls: Arc<Calls>,
}

/// Who asks what, under which id, and in which session.
struct Asked {
    visitor: Visitor,
    id: RequestId,
    key: Option<Key>,
    arguments: Bytes,
}

impl Handler {
    pub(super) fn new(shared: Arc<Shared>, calls: Arc<Calls>) -> Handler {
        Handler { shared, calls }
    }

    fn asked(&self, context: &RequestContext<RoleServer>) -> Result<Asked, ErrorData> {
        let unknown = || ErrorData::internal_error("It is not known who asks.", None);
        let head = context.extensions.get::<Parts>().ok_or_else(unknown)?;
        let visitor = head.extensions.get::<Visitor>().cloned().ok_or_else(unknown)?;
        let id = head.extensions.get::<RequestId>().cloned().unwrap_or_else(|| self.shared.next_request_id());
        let key = Key::new(&visitor, &head.headers, context.id.clone());
        let arguments = head.extensions.get::<Arguments>().map(|Arguments(json)| json.clone());
        Ok(Asked { visitor, id, key, arguments: arguments.unwrap_or_default() })
    }

    async fn call(&self, name: &str, asked: Asked, progress: Option<Progress>) -> Result<CallToolResult, ErrorData> {
        let found = tools::find(&self.shared.registry.load(), name);
        let (component, function) = found.ok_or_else(|| unknown(name))?;
        let Asked { visitor, id, arguments, .. } = asked;
        let is_allowed = visitor.caller.may_ask(component.name()).is_ok();
        let call = Call { shared: &self.shared, visitor: &visitor, id, component: &component, function: &function };
        // What is not allowed is refused, counted and recorded on its way, and the caller does not learn that it is there.
        let result = call.run(arguments, progress).await;
        if is_allowed { Ok(result) } else { Err(unknown(name)) }
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("tessera", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let asked = self.asked(&context)?;
        let cursor = request.and_then(|request| request.cursor);
        if cursor.as_ref().is_some_and(|cursor| !tools::is_name(cursor)) {
            return Err(ErrorData::invalid_params("The cursor is none that this server gave.", None));
        }
        let (tools, next_cursor) = tools::list(&self.shared.registry.load(), &asked.visitor.caller, cursor.as_deref());
        Ok(ListToolsResult { next_cursor, ..ListToolsResult::with_all_items(tools) })
    }

    /// What the library has not recognized: its method is none of this server's, or its parameters are none of its method's.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if METHODS.contains(&request.method.as_str()) {
            return Err(ErrorData::invalid_params(format!("The parameters are none of `{}`.", request.method), None));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let mut asked = self.asked(&context)?;
        let under_way = match asked.key.take() {
            Some(key) => Some(self.calls.begin(key).ok_or_else(taken)?),
            None => None,
        };
        let token = context.meta.get_progress_token();
        let progress = token.map(|token| Progress { client: context.peer.clone(), token });
        let cancelled = under_way.as_ref().map(|call| call.cancelled.clone()).unwrap_or_default();
        tokio::select! {
            result = self.call(&request.name, asked, progress) => result.map(Into::into),
            () = context.ct.cancelled() => Err(ErrorData::new(CANCELLED, "The client has left.", None)),
            () = cancelled.cancelled() => Err(ErrorData::new(CANCELLED, "The call was cancelled.", None)),
        }
    }
}

/// What is no tool, or none of this caller's: the two can't be told apart.
fn unknown(name: &str) -> ErrorData {
    let name: String = name.chars().take(128).collect();
    ErrorData::invalid_params(format!("Unknown tool: {name}"), None)
}

fn taken() -> ErrorData {
    ErrorData::invalid_request("A call with this id is under way in this session: give each its own.", None)
}
