package zookeras;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/**
 * One round of a group. Rings at every peer ("my data are in place"), fetches from each peer as
 * soon as it has rung, and ends when all is here and all have heard. Nobody can be more than one
 * exchange ahead of anybody.
 */
final class Exchange {
  private static final long LOOK_AROUND_MS = 100;
  private static final long ASK_EVERY_NS = TimeUnit.SECONDS.toNanos(2);
  private static final long GRACE_NS = TimeUnit.SECONDS.toNanos(5);

  private final Group group;
  private final Lease lease;
  private final long number;
  private final List<Plan> waiting;
  private final List<Integer> peers;
  private final List<Target> targets = new ArrayList<>();
  private final boolean[] heard;
  private final boolean[] served;
  private long nextQuestion = System.nanoTime() + ASK_EVERY_NS;
  private int open;
  private Throwable error;
  private int faulty;

  /** {@code plans}: one for each peer it is with, empty where nothing is to be fetched. */
  Exchange(Group group, Lease lease, long number, List<Plan> plans) {
    this.group = group;
    this.lease = lease;
    this.number = number;
    waiting = new ArrayList<>(plans);
    peers = plans.stream().map(Plan::peer).toList();
    heard = new boolean[group.peers.length];
    served = new boolean[group.peers.length];
    open = 2 * plans.size();
  }

  void run(long timeoutMs) throws BridgeException, InterruptedException {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    try {
      ringEverywhere();
      while (!finished(end)) {
        startWhatMay();
        askTheSilent();
      }
    } finally {
      targets.forEach(Target::revoke);
    }
  }

  private void ringEverywhere() {
    for (Plan plan : waiting) {
      int peer = plan.peer();
      try {
        Fetch fetch = group.ring(peer, number, e -> done(peer, heard, e));
        if (fetch == null) {
          done(peer, heard, null);
        } else {
          fetch.start();
        }
      } catch (Exception e) { // Scala throws checked exceptions undeclared
        keepInterrupt(e);
        done(peer, heard, e);
      }
    }
  }

  /** Starts the transfers from peers that have rung by now. */
  private void startWhatMay() {
    for (int i = waiting.size() - 1; i >= 0; i--) {
      if (group.hasRung(waiting.get(i).peer(), number)) {
        start(waiting.remove(i));
      }
    }
  }

  /** Rings again at peers that have long said nothing: those who are gone cannot be reached. */
  private void askTheSilent() {
    if (System.nanoTime() < nextQuestion) {
      return;
    }
    nextQuestion = System.nanoTime() + ASK_EVERY_NS;
    for (Plan plan : waiting) {
      try {
        Fetch fetch = group.ring(plan.peer(), number, e -> fail(plan.peer(), e));
        if (fetch != null) {
          fetch.start();
        }
      } catch (Exception e) {
        keepInterrupt(e);
        fail(plan.peer(), e);
      }
    }
  }

  private void start(Plan plan) {
    int peer = plan.peer();
    List<Target> places = plan.targets();
    targets.addAll(places);
    try {
      if (group.peers[peer].isHere()) {
        for (int i = 0; i < places.size(); i++) {
          Blocks.copy(plan.names().get(i), places.get(i));
        }
        done(peer, served, null);
      } else {
        new Fetch(group.peers[peer], plan.names(), places, e -> done(peer, served, e)).start();
      }
    } catch (Exception e) {
      keepInterrupt(e);
      done(peer, served, e);
    }
  }

  /** A task that is ended while it is here says so at its next wait. */
  private static void keepInterrupt(Exception e) {
    if (e instanceof InterruptedException) {
      Thread.currentThread().interrupt();
    }
  }

  /** From any thread: a ring has been heard, a transfer is complete, or either has failed. */
  private void done(int peer, boolean[] kind, Throwable failure) {
    synchronized (group) {
      kind[peer] = true;
      open--;
      fail(peer, failure);
      if (open == 0) {
        group.notifyAll();
      }
    }
  }

  private void fail(int peer, Throwable failure) {
    synchronized (group) {
      if (failure != null && error == null) {
        error = failure;
        faulty = peer;
        group.notifyAll();
      }
    }
  }

  /** Waits; true when all is done, false when there may be something to start or to ask. */
  private boolean finished(long end) throws BridgeException, InterruptedException {
    synchronized (group) {
      if (open > 0 && error == null && !mayStart()) {
        group.wait(LOOK_AROUND_MS);
        check(end);
      }
      if (error == null) {
        return open == 0;
      }
    }
    throw lost();
  }

  private boolean mayStart() {
    return waiting.stream().anyMatch(plan -> group.hasRung(plan.peer(), number));
  }

  private void check(long end) throws BridgeException {
    String reason = lease.cancelled();
    if (reason != null) {
      String text = here() + " was stopped by Spark while it waited for " + late() + ": " + reason;
      throw new BridgeException(BridgeException.CANCELLED, text);
    }
    if (System.nanoTime() > end) {
      String text = here() + " waited too long for " + late();
      throw new BridgeException(BridgeException.TIMEOUT, text);
    }
  }

  /**
   * A peer's failure shows here before Spark has told the driver of it. The first failure that the
   * driver hears of is the one it reports, so ours waits a little for Spark to stop this task.
   */
  private BridgeException lost() throws InterruptedException {
    long end = System.nanoTime() + GRACE_NS;
    while (lease.cancelled() == null && System.nanoTime() < end) {
      Thread.sleep(LOOK_AROUND_MS);
    }
    String text = here() + " lost " + group.peers[faulty] + ": " + error;
    return new BridgeException(BridgeException.PEER_LOST, text);
  }

  private String here() {
    return "Exchange " + number + " of job " + group.job + ": rank " + group.rank;
  }

  /** The peers that are still missing. */
  private String late() {
    return peers.stream()
        .filter(peer -> !(heard[peer] && served[peer]))
        .map(peer -> group.peers[peer].toString())
        .collect(Collectors.joining(", "));
  }
}
