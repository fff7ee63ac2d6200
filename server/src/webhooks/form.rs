//! Forms as providers post them, urlencoded or multipart, split into names and values.

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart};
use axum::http::{Request, header};
use bytes::Bytes;

/// A file that is longer is no report, and what else is attached nobody reads here.
const FILE_MAX: usize = 256 * 1024;

/// The body is not a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a form")]
pub(super) struct NotAForm;

/// Reads `body`, which is of type `content_type`. Of attached files only short texts are kept.
pub(super) async fn fields(
    content_type: &str,
    body: Bytes,
) -> Result<Vec<(String, String)>, NotAForm> {
    if !content_type.starts_with("multipart/form-data") {
        let pairs = url::form_urlencoded::parse(&body);
        return Ok(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect());
    }
    let request = Request::builder().header(header::CONTENT_TYPE, content_type);
    let mut request = request.body(Body::from(body)).map_err(|_| NotAForm)?;
    // It was bounded when it was read.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| NotAForm)?;
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|_| NotAForm)? {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some();
        let value = field.bytes().await.map_err(|_| NotAForm)?;
        if !is_file {
            fields.push((name, String::from_utf8_lossy(&value).into_owned()));
        } else if value.len() <= FILE_MAX
            && let Ok(text) = std::str::from_utf8(&value)
        {
            fields.push((name, text.to_owned()));
        }
    }
    Ok(fields)
}
