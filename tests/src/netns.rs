//! The network of a process that lives in a namespace of its own, as somebody sees it who has taken the process over.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;

/// How long a packet is waited for. What passes takes microseconds, or a second if the first packet was lost.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The network of a process.
#[derive(Clone, Debug)]
pub struct Network(Arc<File>);

impl Network {
    /// The network in which the process with that id lives now. It lasts as long as this value.
    ///
    /// # Panics
    /// If there is no such process, or this test does not run as root.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self(Arc::new(File::open(format!("/proc/{pid}/ns/net")).expect("root looks into a process that lives")))
    }

    /// Connects from there.
    ///
    /// # Errors
    /// What a program there would be told: refused, or no answer in time.
    pub fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.within(|| TcpStream::connect_timeout(&to, CONNECT_LIMIT))
    }

    /// Runs `work` there. A namespace belongs to a thread, so it gets one that nobody uses afterwards.
    fn within<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let enter = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join()).expect("nothing there panics")
    }

    /// An address of this test's own network whose connections go on from there to `to`.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn way_to(&self, to: SocketAddr) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let network = self.clone();
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let network = network.clone();
                tokio::spawn(async move {
                    let connected = tokio::task::spawn_blocking(move || network.connect(to)).await;
                    // Closing `here` tells the client that nothing answers.
                    let Ok(Ok(there)) = connected else { return };
                    there.set_nonblocking(true).expect("a socket can be made non-blocking");
                    let mut there = tokio::net::TcpStream::from_std(there).expect("a runtime is there");
                    drop(copy_bidirectional(&mut here, &mut there).await);
                });
            }
        });
        address
    }
}
