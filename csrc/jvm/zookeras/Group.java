package zookeras;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * One rank's place in a job: the bells at which its peers ring, how far each has rung, and the
 * peers' addresses once they are known. It is the monitor on which an exchange waits.
 */
final class Group {
  static final int LARGEST = 1 << 14;

  final String job;
  final int rank;
  final Peer[] peers;
  private final long[] rung;
  private final List<String> names = new ArrayList<>();

  Group(String job, int rank, int size) {
    if (size < 1 || size > LARGEST || rank < 0 || rank >= size) {
      throw new IllegalArgumentException("rank " + rank + " of " + size);
    }
    this.job = job;
    this.rank = rank;
    peers = new Peer[size];
    rung = new long[size];
  }

  void hangBells() throws IOException {
    for (int from = 0; from < peers.length; from++) {
      for (int bits = 0; from != rank && bits < Bell.KINDS; bits++) {
        String name = bellName(from, rank, bits);
        Blocks.put(name, new Bell(this, from, bits), false);
        names.add(name);
      }
    }
  }

  /** The blocks of the bells that hang. */
  List<String> bellNames() {
    return names;
  }

  void join(List<Peer> all) throws IOException, InterruptedException {
    if (all.size() != peers.length) {
      throw new IllegalArgumentException(all.size() + " addresses for " + peers.length + " ranks");
    }
    all.toArray(peers);
    for (Peer peer : peers) {
      if (!peer.isHere()) {
        Receive.tune(peer);
      }
    }
  }

  /** A peer has rung. Exchanges are numbered from 1; a bell heard twice counts once. */
  synchronized void rang(int from, int bits) {
    if (((rung[from] + 1) & (Bell.KINDS - 1)) == bits) {
      rung[from]++;
      notifyAll();
    }
  }

  synchronized boolean hasRung(int peer, long number) {
    return rung[peer] >= number;
  }

  /** Rings at a peer, through the network or, in this very process, directly. */
  Fetch ring(int peer, long number, Consumer<Throwable> whenHeard)
      throws IOException {
    String name = bellName(rank, peer, (int) (number & (Bell.KINDS - 1)));
    if (peers[peer].isHere()) {
      Blocks.ring(name);
      return null;
    }
    Target nothing = new Target(List.of(ByteBuffer.allocate(Bell.BYTES)));
    return new Fetch(peers[peer], List.of(name), List.of(nothing), whenHeard);
  }

  private String bellName(int from, int to, int bits) {
    return job + "-bell-" + from + "-" + to + "-" + bits;
  }
}
