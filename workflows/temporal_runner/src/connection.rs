//! The way to Temporal: the address, namespace, certificates and key that its own programs use, from
//! `TEMPORAL_…` variables and `temporal.toml`, so that what works for `temporal workflow list` works here.

use std::time::Duration;

use activities::error::chain;
use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::errors::{ClientConnectError, ClientNewError};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};
use temporalio_common::envconfig::{ClientConfigProfile, ConfigError, load_client_config_profile};
use url::Url;

use super::meter;

/// The namespace where none is named.
const NAMESPACE: &str = "default";

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Why Temporal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// What is said of it does not read well. A text, because the SDK's error is bound to its thread.
    #[error("the settings for Temporal, TEMPORAL_… or temporal.toml, cannot be used: {0}")]
    Settings(String),
    /// Nobody answers, or not us.
    #[error("Temporal at {address} does not answer")]
    Unreachable {
        /// Where.
        address: Url,
        /// What was heard.
        #[source]
        source: Box<ClientConnectError>,
    },
    /// Nothing was heard.
    #[error("Temporal at {address} does not answer within {} s", CONNECT.as_secs())]
    Silent {
        /// Where.
        address: Url,
    },
    /// The client cannot be made.
    #[error("no client for Temporal can be made")]
    Client(#[source] ClientNewError),
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
/// [`ConnectionError::Settings`].
pub fn address() -> Result<Option<String>, ConnectionError> {
    Ok(profile()?.address)
}

/// Returns the namespace that somebody named, by `TEMPORAL_NAMESPACE` or in `temporal.toml`, else the
/// usual one.
///
/// # Errors
///
/// [`ConnectionError::Settings`].
pub fn namespace() -> Result<String, ConnectionError> {
    Ok(profile()?.namespace.unwrap_or_else(|| NAMESPACE.to_owned()))
}

fn profile() -> Result<ClientConfigProfile, ConnectionError> {
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
        Ok(Err(source)) => {
            return Err(ConnectionError::Unreachable { address, source: Box::new(source) });
        }
        Err(_) => return Err(ConnectionError::Silent { address }),
    };
    Client::new(connection, client).map_err(ConnectionError::Client)
}
