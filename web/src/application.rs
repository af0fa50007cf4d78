//! Puts the server together. `main` and the tests call the same [`Application::build`].

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::middleware::{Compress, DefaultHeaders, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App, HttpServer};
use anyhow::Context;
use tokio::sync::Semaphore;

use crate::assets::Assets;
use crate::catalog::Catalog;
use crate::dispatch::Dispatcher;
use crate::guard::{self, Guard, Operator};
use crate::metrics::Metrics;
use crate::operator::deploy;
use crate::routes;
use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::transport::Transport;

/// Uploads in memory at once, and of these decoded at once.
const UPLOADS: usize = 32;
const DECODERS: usize = 2;
/// Browsers that follow their frames at once.
const LISTENERS: usize = 64;

/// What every handler has at hand.
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) catalog: Catalog,
    pub(crate) assets: Assets,
    pub(crate) operator: Operator,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) decoders: Arc<Semaphore>,
    pub(crate) listeners: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
}

/// A server that listens but does not answer before [`Application::run_until`].
pub struct Application {
    server: Server,
    address: SocketAddr,
    state: Data<State>,
}

impl Application {
    /// Opens the way to the cluster, takes the root, and listens.
    ///
    /// # Errors
    /// Whatever stands in the way, with advice.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        guard::check_bind(settings.server.host, settings.server.insecure)?;
        let guard = Data::new(Guard::new(&settings.server.allowed_hosts).context("server.allowed_hosts")?);
        let operator = operator(&settings).context("server.operator_token")?;
        let assets = Assets::load(&settings.server.assets)?;
        let wanted = SocketAddr::new(settings.server.host, settings.server.port);
        let listener = TcpListener::bind(wanted).with_context(|| {
            format!("cannot listen on {wanted}; choose another port with --port, or stop what listens there")
        })?;
        let address = listener.local_addr().context("failed to read the address")?;

        let transport = Arc::new(Transport::connect(&settings).await?);
        let scheduler = Arc::new(Scheduler::new(&settings, transport.clone()));
        let dispatcher = Dispatcher::start(&settings, transport.clone(), scheduler).await?;
        if settings.is_embedded() {
            deploy::install_runner(&transport).await.context("failed to put the runner into the root's folder bin")?;
        }
        let catalog = match Catalog::load(&settings, &transport).await {
            Ok(catalog) => catalog,
            Err(error) => {
                dispatcher.shut_down().await;
                return Err(error.into());
            }
        };
        match catalog.default_model() {
            Ok(model) => dispatcher.keep_standby(&model.name),
            Err(error) => tracing::warn!(%error, "the default model cannot paint; see models.default in the settings"),
        }
        for problem in catalog.unmet() {
            tracing::warn!("{problem}");
        }

        let static_files = assets.static_files.clone();
        let uploads = Arc::new(Semaphore::new(UPLOADS));
        let decoders = Arc::new(Semaphore::new(DECODERS));
        let listeners = Arc::new(Semaphore::new(LISTENERS));
        let metrics = Metrics::new();
        let state =
            Data::new(State { settings, dispatcher, catalog, assets, operator, uploads, decoders, listeners, metrics });
        let shared = state.clone();
        let server = HttpServer::new(move || {
            let files = actix_files::Files::new("", &static_files);
            App::new()
                .app_data(shared.clone())
                .app_data(guard.clone())
                .wrap(from_fn(guard::check))
                .service(
                    web::scope("/static")
                        .wrap(Compress::default())
                        .wrap(DefaultHeaders::new().add(("Cache-Control", "no-cache")))
                        .service(files),
                )
                .configure(routes::configure)
        })
        // A browser that goes away takes its frame with it: the handler's future is dropped.
        .h1_allow_half_closed(false)
        .disable_signals()
        .shutdown_timeout(25)
        .workers(2)
        .listen(listener)
        .context("failed to start the server")?
        .run();
        Ok(Self { server, address, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's address, and the operator's link to the list of jobs; `None` where that is off.
    #[must_use]
    pub fn links(&self) -> (String, Option<String>) {
        let page = format!(
            "http://{}",
            if self.address.ip().is_loopback() && self.address.is_ipv4() {
                format!("localhost:{}", self.address.port())
            } else {
                self.address.to_string()
            }
        );
        let jobs = self.state.operator.token().map(|token| format!("{page}/jobs?token={token}"));
        (page, jobs)
    }

    /// Serves until `shutdown` resolves, then cancels what is in flight and gives the root up.
    ///
    /// # Errors
    /// The server itself failed.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let handle = self.server.handle();
        let state = self.state;
        let mut server = tokio::spawn(self.server);
        let served = tokio::select! {
            served = &mut server => served,
            () = shutdown => {
                tracing::info!("shutting down");
                tokio::join!(handle.stop(true), state.dispatcher.shut_down());
                server.await
            }
        };
        served.context("the server's task failed")?.context("the server failed")
    }
}

/// Nobody is the operator of a server that listens to the world without TLS.
fn operator(settings: &Settings) -> Result<Operator, guard::WeakToken> {
    match settings.server.operator_token.as_str() {
        _ if settings.server.insecure => Ok(Operator::nobody()),
        "" => Ok(Operator::with_random_token()),
        token => Operator::with_token(token),
    }
}
