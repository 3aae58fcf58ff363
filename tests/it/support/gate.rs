//! A gate in front of a server: closed, the server is away.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use url::Url;

/// Passes connections on while it is open; cuts them all, and every new one, when it is closed.
pub struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    /// An open gate in front of the server of an address.
    pub async fn before(url: &str) -> Self {
        let url = Url::parse(url).expect("an address");
        let server = (url.host_str().expect("a host").to_owned(), url.port().expect("a port"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (open, opened) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut opened, server) = (opened.clone(), server.clone());
                tokio::spawn(async move {
                    let passing = async {
                        let mut server = TcpStream::connect(server).await?;
                        copy_bidirectional(&mut client, &mut server).await
                    };
                    tokio::select! {
                        _ = opened.wait_for(|open| !open) => {}
                        _ = passing => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    /// The server's address through the gate.
    pub fn through(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("an address");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.address.port())).expect("a port");
        url.into()
    }

    pub fn close(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}
