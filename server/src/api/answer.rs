//! What handlers answer beside plain JSON.

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{Operation, Response as ApiResponse, StatusCode as ApiStatus};
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use url::Url;

use super::document;

/// 201, with the place of what was made.
#[derive(Debug)]
pub(super) struct Created<T> {
    /// Its path.
    pub(super) location: String,
    /// What it is.
    pub(super) body: T,
}

/// 200, with the version of what it shows in `ETag`, for `If-Match`.
#[derive(Debug)]
pub(super) struct Versioned<T> {
    /// The version.
    pub(super) version: i32,
    /// What it is.
    pub(super) body: T,
}

/// 202: it was taken note of, and happens in the background.
#[derive(Debug)]
pub(super) struct Accepted<T>(pub(super) T);

/// Returns the path of a thing whose name may hold any character.
pub(super) fn place(list: &str, name: &str) -> String {
    let mut url: Url = format!("http://localhost/api/v1/{list}").parse().expect("it is a URL");
    url.path_segments_mut().expect("it has a path").push(name);
    url.path().to_owned()
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, [(header::LOCATION, self.location)], Json(self.body)).into_response()
    }
}

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let tag = format!("\"{}\"", self.version);
        ([(header::ETAG, tag)], Json(self.body)).into_response()
    }
}

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

impl<T: JsonSchema> OperationOutput for Created<T> {
    type Inner = T;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        Json::<T>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        answers::<T>(ctx, operation, 201, Some("Location"))
    }
}

impl<T: JsonSchema> OperationOutput for Versioned<T> {
    type Inner = T;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        Json::<T>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        answers::<T>(ctx, operation, 200, Some("ETag"))
    }
}

impl<T: JsonSchema> OperationOutput for Accepted<T> {
    type Inner = T;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        Json::<T>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        answers::<T>(ctx, operation, 202, None)
    }
}

fn answers<T: JsonSchema>(
    ctx: &mut GenContext,
    operation: &mut Operation,
    status: u16,
    header: Option<&str>,
) -> Vec<(Option<ApiStatus>, ApiResponse)> {
    let response = Json::<T>::operation_response(ctx, operation).map(|mut response| {
        response.headers.extend(header.map(|name| (name.to_owned(), document::header(name))));
        (Some(ApiStatus::Code(status)), response)
    });
    response.into_iter().collect()
}
