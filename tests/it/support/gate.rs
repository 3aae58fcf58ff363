//! A gate in front of a server: what a network does to connections.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};
use url::Url;

/// What becomes of connections and of what is said on them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// All are cut, and every new one.
    Closed,
    /// Whatever is said arrives so much later, in each direction.
    Delayed(Duration),
    /// All stand, new ones as well, and nothing arrives.
    Frozen,
}

/// Passes connections on as it is told, from one moment to the next.
pub struct Gate {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Gate {
    /// An open gate in front of the server of an address.
    pub async fn before(url: &str) -> Self {
        let url = Url::parse(url).expect("an address");
        let server = (url.host_str().expect("a host").to_owned(), url.port().expect("a port"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (mode, changed) = watch::channel(Mode::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut closed, mode, server) = (changed.clone(), changed.clone(), server.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = closed.wait_for(|mode| *mode == Mode::Closed) => {}
                        _ = pass_on(client, server, mode) => {}
                    }
                });
            }
        });
        Self { address, mode }
    }

    /// The server's address through the gate.
    pub fn through(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("an address");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.address.port())).expect("a port");
        url.into()
    }

    pub fn open(&self) {
        self.mode.send_replace(Mode::Open);
    }

    /// The server is away.
    pub fn close(&self) {
        self.mode.send_replace(Mode::Closed);
    }

    /// The server is slow.
    pub fn delay(&self, each: Duration) {
        self.mode.send_replace(Mode::Delayed(each));
    }

    /// The server has vanished without a word: connections are half open.
    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }
}

/// Passes on what both sides say until one of them hangs up.
async fn pass_on(client: TcpStream, server: (String, u16), mode: watch::Receiver<Mode>) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        ended = one_way(from_client, to_server, mode.clone()) => ended,
        ended = one_way(from_server, to_client, mode) => ended,
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut said = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut said).await?;
        let thawed = mode.wait_for(|mode| *mode != Mode::Frozen).await.map(|mode| *mode).map_err(io::Error::other)?;
        if let Mode::Delayed(delay) = thawed {
            sleep(delay).await;
        }
        if count == 0 {
            return Ok(());
        }
        to.write_all(&said[..count]).await?;
    }
}
