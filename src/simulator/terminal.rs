//! A pseudo-terminal: a serial port without hardware.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Our side of a pseudo-terminal. The other side is a path that is opened like a serial port.
#[derive(Debug)]
pub(super) struct Terminal {
    ours: AsyncFd<OwnedFd>,
    /// Kept open, so that the terminal outlives whoever opens and closes it.
    theirs: OwnedFd,
    path: PathBuf,
    link: Option<PathBuf>,
}

impl Terminal {
    /// Opens one, raw and without echo.
    pub(super) fn open() -> io::Result<Terminal> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(ptsname(&ours, Vec::new())?.into()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = open(&path, flags, Mode::empty())?;
        let mut settings = tcgetattr(&theirs)?;
        settings.make_raw();
        tcsetattr(&theirs, OptionalActions::Now, &settings)?;
        fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
        #[expect(deprecated, reason = "its successor is unsafe; an OwnedFd is what that asks for")]
        let ours = AsyncFd::new(ours)?;
        Ok(Terminal { ours, theirs, path, link: None })
    }

    /// Where to open it.
    pub(super) fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.path)
    }

    /// Makes `link` lead to it for as long as it lives. An old link is replaced, nothing else is.
    pub(super) fn link(&mut self, link: PathBuf) -> io::Result<()> {
        if fs::symlink_metadata(&link).is_ok_and(|found| found.is_symlink()) {
            fs::remove_file(&link)?;
        }
        std::os::unix::fs::symlink(&self.path, &link)?;
        self.link = Some(link);
        Ok(())
    }

    /// A real port forgets with its last user that it was for one user alone; this one has always
    /// another.
    fn let_others_in(&self) {
        // Nothing is lost if it fails: then nobody had claimed it.
        let _ = ioctl_tiocnxcl(&self.theirs);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(link) = &self.link
            && fs::read_link(link).is_ok_and(|to| to == self.path)
        {
            let _ = fs::remove_file(link);
        }
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.ours.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            match ready.try_io(|ours| Ok(rustix::io::read(ours, &mut *room)?)) {
                Ok(read) => {
                    buffer.advance(read?);
                    return Poll::Ready(Ok(()));
                }
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.let_others_in();
        loop {
            let mut ready = ready!(self.ours.poll_write_ready(context))?;
            if let Ok(written) = ready.try_io(|ours| Ok(rustix::io::write(ours, bytes)?)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
