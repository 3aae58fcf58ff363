//! Connections as the edge accepts them: small writes go out at once, and a peer that reads nothing is let go.
//!
//! # Decisions
//! - The bound on a stalled write stands under every transport, where alone it can cut them all: a stream's body is not
//!   even asked for more while its connection cannot write.
//! - What counts is progress, so that a slow reader of a large answer is left in peace.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep},
};

/// The address at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

/// Accepts connections.
pub(super) struct Edgewise {
    pub listener: TcpListener,
    /// How long a write may go without progress.
    pub stall: Duration,
}

impl Listener for Edgewise {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        // The trait's, which outlives what can go wrong.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // A connection that ended meanwhile says so when it is read.
        let _ = stream.set_nodelay(true);
        (Connection { stream, stall: self.stall, stalled: None }, Peer(address))
    }

    fn local_addr(&self) -> io::Result<Peer> {
        self.listener.local_addr().map(Peer)
    }
}

impl Connected<IncomingStream<'_, Edgewise>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Edgewise>) -> Self {
        *stream.remote_addr()
    }
}

/// A connection whose writes have to get on.
pub(super) struct Connection {
    stream: TcpStream,
    stall: Duration,
    /// Runs while nothing can be written; made only then, as it is larger than all the rest.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// What a write answers, or that it took too long.
    fn watched<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let stall = self.stall;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(stall))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watched(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watched(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
