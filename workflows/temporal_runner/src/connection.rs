//! The way to Temporal: the address, namespace, certificates and key that its own programs use, from
//! `TEMPORAL_…` variables and `temporal.toml`, so that what works for `temporal workflow list` works here. A
//! file that is named and not there is refused: they pass it over, and leads would go elsewhere.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use activities::error::chain;
use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::errors::{ClientConnectError, ClientNewError};
use temporalio_client::tonic::{Code, Request, Status};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};
use temporalio_common::envconfig::{ClientConfigProfile, ConfigError, load_client_config_profile};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeNamespaceRequest, GetSystemInfoRequest,
};
use url::Url;

use super::meter;

/// The namespace where none is named.
const NAMESPACE: &str = "default";

/// The variable that names a file with settings.
const CONFIG_FILE: &str = "TEMPORAL_CONFIG_FILE";

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Why Temporal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// What is said of it does not read well. A text, because the SDK's error is bound to its thread.
    #[error("the settings for Temporal, TEMPORAL_… or temporal.toml, cannot be used: {0}")]
    Settings(String),
    /// An address without a port: Temporal's own programs refuse it too.
    #[error(
        "the address of Temporal, TEMPORAL_ADDRESS or in temporal.toml, is `{0}`: write HOST:PORT"
    )]
    NoPort(String),
    /// The file that is named is not there.
    #[error("TEMPORAL_CONFIG_FILE names {}, which is not there: correct it, or leave it out", .0.display())]
    NoSuchFile(PathBuf),
    /// Nobody answers, or not us.
    #[error("Temporal at {address} does not answer")]
    Unreachable {
        /// Where.
        address: Url,
        /// What was heard.
        #[source]
        heard: Heard,
    },
    /// Nothing was heard.
    #[error("Temporal at {address} does not answer within {} s", CONNECT.as_secs())]
    Silent {
        /// Where.
        address: Url,
    },
    /// Nobody has made the namespace.
    #[error(
        "Temporal at {address} has no namespace `{namespace}`: set TEMPORAL_NAMESPACE to one it has, or \
         make it with `temporal operator namespace create --namespace {namespace} --address {}`",
        authority(.address)
    )]
    NoSuchNamespace {
        /// Where.
        address: Url,
        /// What was looked for.
        namespace: String,
    },
    /// The client cannot be made.
    #[error("no client for Temporal can be made")]
    Client(#[source] ClientNewError),
}

/// What was heard from Temporal, or of it, where a call came to nothing: the words of its answer, else the
/// first cause of there being none, without those of every layer between.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Heard(String);

impl Heard {
    /// Keeps the first cause.
    pub(crate) fn new(mut error: &dyn Error) -> Self {
        while let Some(source) = error.source() {
            error = source;
        }
        Self(error.to_string())
    }
}

impl From<&Status> for Heard {
    fn from(status: &Status) -> Self {
        match status.source() {
            Some(cause) => Self::new(cause),
            None if status.message().is_empty() => Self(status.code().to_string()),
            None => Self(format!("{}: {}", status.code(), status.message())),
        }
    }
}

impl ConnectionError {
    /// Tells settings that nobody can be asked with from nobody's answering.
    fn of_connecting(address: Url, error: &ClientConnectError) -> Self {
        let heard = match error {
            ClientConnectError::InvalidUri(_) | ClientConnectError::InvalidHeaders(_) => {
                return Self::Settings(error.to_string());
            }
            ClientConnectError::SystemInfoCallError(status) => Heard::from(status),
            error => Heard::new(error),
        };
        Self::Unreachable { address, heard }
    }
}

impl From<ConfigError> for ConnectionError {
    fn from(error: ConfigError) -> Self {
        Self::Settings(chain(&error))
    }
}

/// Returns the address that somebody gave, by `TEMPORAL_ADDRESS` or in `temporal.toml`.
///
/// # Errors
///
/// [`ConnectionError::Settings`], [`ConnectionError::NoPort`], [`ConnectionError::NoSuchFile`].
pub fn address() -> Result<Option<String>, ConnectionError> {
    match profile()?.address {
        Some(address) if !has_port(&address) => Err(ConnectionError::NoPort(address)),
        address => Ok(address),
    }
}

/// Whether an address names a port, or a scheme, which has one.
fn has_port(address: &str) -> bool {
    let port = address.rsplit_once(':').map(|(_, port)| port);
    address.contains("://") || port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Returns the namespace that somebody named, by `TEMPORAL_NAMESPACE` or in `temporal.toml`, else the
/// usual one.
///
/// # Errors
///
/// [`ConnectionError::Settings`], [`ConnectionError::NoSuchFile`].
pub fn namespace() -> Result<String, ConnectionError> {
    Ok(profile()?.namespace.unwrap_or_else(|| NAMESPACE.to_owned()))
}

fn profile() -> Result<ClientConfigProfile, ConnectionError> {
    let file = std::env::var_os(CONFIG_FILE).filter(|file| !file.is_empty()).map(PathBuf::from);
    if let Some(file) = file
        && !file.exists()
    {
        return Err(ConnectionError::NoSuchFile(file));
    }
    Ok(load_client_config_profile(LoadClientConfigProfileOptions::default(), None)?)
}

/// Tells whether a Temporal server answers at `address`, in the clear, within `patience`.
pub async fn answers(address: &Url, patience: Duration) -> bool {
    let options = ConnectionOptions::new(address.clone()).identity("meridian".to_owned()).build();
    // It asks for what the server can do, which nobody else answers.
    match tokio::time::timeout(patience, Connection::connect(options)).await {
        Ok(connected) => connected.is_ok(),
        Err(_) => false,
    }
}

/// Connects, at `address` if it is given, else where the settings say.
pub(crate) async fn connect(
    address: Option<&Url>,
    identity: String,
) -> Result<Client, ConnectionError> {
    let options = LoadClientConfigProfileOptions::default();
    let (mut connection, client) = ClientOptions::load_from_config(options)?;
    connection.identity = identity;
    connection.metrics_meter = Some(meter::of_client());
    if let Some(address) = address {
        connection.target = address.clone();
    }
    let address = connection.target.clone();
    let connected = tokio::time::timeout(CONNECT, Connection::connect(connection)).await;
    let connection = match connected {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(ConnectionError::of_connecting(address, &error)),
        Err(_) => return Err(ConnectionError::Silent { address }),
    };
    let namespace = client.namespace.clone();
    if is_unknown(&connection, &namespace).await {
        return Err(ConnectionError::NoSuchNamespace { address, namespace });
    }
    Client::new(connection, client).map_err(ConnectionError::Client)
}

/// An address as Temporal's programs want it: without a scheme.
fn authority(address: &Url) -> &str {
    let text = address.as_str();
    text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/')
}

/// Tells whether a namespace is not there. Who may not ask finds out by working.
async fn is_unknown(connection: &Connection, namespace: &str) -> bool {
    let request =
        DescribeNamespaceRequest { namespace: namespace.to_owned(), ..Default::default() };
    let described = connection.workflow_service().describe_namespace(Request::new(request)).await;
    described.is_err_and(|status| status.code() == Code::NotFound)
}

/// Hears whether Temporal is there.
///
/// # Errors
///
/// What it says instead.
pub(crate) async fn greet(client: &Client) -> Result<(), Heard> {
    let mut service = client.connection().workflow_service();
    let asked = service.get_system_info(Request::new(GetSystemInfoRequest {}));
    match tokio::time::timeout(CONNECT, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(Heard::from(&status)),
        Err(_) => Err(Heard(format!("nothing was heard within {} s", CONNECT.as_secs()))),
    }
}

/// Finds out whether there is a Temporal to work with, where the settings say.
///
/// # Errors
///
/// When there is none.
pub async fn probe() -> Result<(), ConnectionError> {
    connect(None, "probe".to_owned()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_said_without_the_layers_between() {
        let refused = std::io::Error::other("Connection refused");
        let mut status = Status::unavailable("tcp connect error");
        status.set_source(std::sync::Arc::new(refused));
        assert_eq!(Heard::from(&status).to_string(), "Connection refused");
        let status = Status::permission_denied("Request unauthorized.");
        let said = "The caller does not have permission to execute the specified operation";
        let said = format!("{said}: Request unauthorized.");
        assert_eq!(Heard::from(&status).to_string(), said);
    }

    #[test]
    fn an_address_names_its_port() {
        for address in ["localhost:7233", "[::1]:7233", "https://temporal.example", "http://a:1"] {
            assert!(has_port(address), "{address}");
        }
        for address in ["nonsense", "localhost:", "localhost:port", "localhost:70000"] {
            assert!(!has_port(address), "{address}");
        }
    }
}
