package zookeras;

import java.io.Closeable;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.UUID;
import org.apache.spark.SparkConf;

/**
 * Where Python knocks: a unix socket in a directory only its owner may enter, or, where unix
 * sockets cannot be made, a loopback port. Gives lines to whoever listens; knows no commands. The
 * caller checks the secret on every line.
 */
abstract class Door implements Closeable {
  static final String TRANSPORT = "spark.zookeras.bridge.transport";
  private static final String PREFIX = "zookeras-";
  private static final long MINUTE_MS = 60_000;
  private static final int LONGEST_UNIX_PATH = 107;

  /** "unix:PATH" or "tcp:PORT". */
  abstract String address();

  /** Waits for the next caller. */
  abstract Line accept() throws IOException;

  /**
   * Opens the kind the configuration names: "unix", "tcp", or "auto" (unix where it can be had).
   */
  static Door open(SparkConf conf) throws IOException {
    String kind = conf.get(TRANSPORT, "auto");
    switch (kind) {
      case "unix":
        return new Unix();
      case "tcp":
        return new Tcp();
      case "auto":
        try {
          return new Unix();
        } catch (IOException | UnsupportedOperationException e) {
          return new Tcp();
        }
      default:
        throw new IOException(TRANSPORT + " must be auto, unix or tcp. Received: " + kind);
    }
  }

  private static final class Unix extends Door {
    /** This machine since its start, and whose process ids are ours: folders may be shared. */
    private static final String MACHINE = mark(Path.of("/proc/sys/kernel/random/boot_id"));

    private static final String PIDS = mark(Path.of("/proc/self/ns/pid"));
    private final Path folder;
    private final Path file;
    private final ServerSocketChannel channel;

    Unix() throws IOException {
      Path parent = Path.of(System.getProperty("java.io.tmpdir"));
      sweep(parent);
      folder =
          Files.createTempDirectory(
              parent,
              PREFIX + ProcessHandle.current().pid() + "-" + MACHINE + "-" + PIDS + "-",
              PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      file = folder.resolve("s");
      try {
        if (file.toString().length() > LONGEST_UNIX_PATH) {
          throw new IOException("the path is too long for a unix socket: " + file);
        }
        channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        channel.bind(UnixDomainSocketAddress.of(file));
      } catch (IOException | RuntimeException e) {
        Files.deleteIfExists(folder);
        throw e;
      }
    }

    @Override
    String address() {
      return "unix:" + file;
    }

    @Override
    Line accept() throws IOException {
      return Line.of(channel.accept());
    }

    @Override
    public void close() throws IOException {
      channel.close();
      Files.deleteIfExists(file);
      Files.deleteIfExists(folder);
    }

    /** Removes what JVMs that were killed have left: old sockets that refuse a call. */
    private static void sweep(Path parent) throws IOException {
      try (DirectoryStream<Path> old = Files.newDirectoryStream(parent, PREFIX + "*")) {
        old.forEach(Unix::removeIfOver);
      }
    }

    private static void removeIfOver(Path folder) {
      Path file = folder.resolve("s");
      try {
        boolean ended = Files.isReadable(folder) && Files.exists(file) && isOver(folder, file);
        if (ended && refuses(file)) {
          Files.deleteIfExists(file);
          Files.deleteIfExists(folder);
        }
      } catch (IOException e) {
        // another JVM that begins now has been quicker
      }
    }

    /**
     * Its process has gone; or it is old, where process ids are of another container. Sockets of
     * other machines refuse our calls while they live, so nothing can be told of them.
     */
    private static boolean isOver(Path folder, Path file) throws IOException {
      String[] words = folder.getFileName().toString().split("-");
      if (words.length != 5 || !words[1].matches("[0-9]{1,18}") || !words[2].equals(MACHINE)) {
        return false;
      }
      if (words[3].equals(PIDS) && ProcessHandle.of(Long.parseLong(words[1])).isEmpty()) {
        return true;
      }
      return Files.getLastModifiedTime(file).toMillis() < System.currentTimeMillis() - MINUTE_MS;
    }

    /** What a file holds, or a link says, as eight digits; any, which no other JVM has, if none. */
    private static String mark(Path path) {
      String found;
      try {
        boolean link = Files.isSymbolicLink(path);
        found = link ? Files.readSymbolicLink(path).toString() : Files.readString(path);
      } catch (IOException | RuntimeException e) {
        found = UUID.randomUUID().toString();
      }
      return String.format("%08x", found.hashCode());
    }

    private static boolean refuses(Path file) {
      try (SocketChannel call = SocketChannel.open(UnixDomainSocketAddress.of(file))) {
        return !call.isConnected();
      } catch (ConnectException e) {
        return true;
      } catch (IOException | RuntimeException e) {
        return false;
      }
    }
  }

  private static final class Tcp extends Door {
    private final ServerSocket socket = new ServerSocket(0, 64, InetAddress.getLoopbackAddress());

    Tcp() throws IOException {}

    @Override
    String address() {
      return "tcp:" + socket.getLocalPort();
    }

    @Override
    Line accept() throws IOException {
      return Line.of(socket.accept());
    }

    @Override
    public void close() throws IOException {
      socket.close();
    }
  }
}
