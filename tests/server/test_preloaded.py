"""`reverie serve` on a machine that misbehaves, by libraries that are preloaded into it (which sanitizers do not allow)."""
import os
import sys
import threading
import unittest

from test_ws import Server, steady


class Preloaded(unittest.TestCase):
    def test_steps_of_the_wall_clock_are_not_noticed(self):
        """An hour ahead and back every half second: every frame comes back at once."""
        stepping = Server({"LD_PRELOAD": os.environ["REVERIE_CLOCK_STEPS"]})
        try:
            times = steady(stepping, 4, least=60)
            stats = stepping.stats()
        finally:
            stepping.stop()
        stepping.log.seek(0)
        self.assertNotIn(b"cannot be preloaded", stepping.log.read())
        self.assertLess(sorted(times)[len(times) // 2], 1)
        self.assertLess(max(times), 4)
        self.assertEqual(stats["frames"]["failed"], 0)

    def test_a_slow_disk_stops_no_picture(self):
        """Settings change all the time, and each time the disk takes four seconds to keep them."""
        slow = Server({"LD_PRELOAD": os.environ["REVERIE_SLOW_DISK"]})
        done = threading.Event()

        def change():
            seed = 0
            while not done.wait(0.3):
                slow.post({"seed": seed})
                seed += 1
            slow.post({"seed": 4711})

        changing = threading.Thread(target=change)
        changing.start()
        try:
            times = steady(slow, 5)
        finally:
            done.set()
            changing.join()
            slow.stop()
        slow.log.seek(0)
        self.assertNotIn(b"cannot be preloaded", slow.log.read())
        self.assertLess(max(times), 3)
        self.assertEqual(slow.kept["seed"], 4711)


if __name__ == "__main__":
    sys.exit(0 if unittest.main(exit=False, verbosity=2, warnings="ignore").result.wasSuccessful() else 1)
