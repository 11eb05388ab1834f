"""A wire between browser and server that keeps every byte it carries."""

import socket
import threading


class Recorder:
    """Forwards connections to a port of this machine and records both directions.

    Asks the server for plain bytes instead of compressed ones, so that what is recorded can be searched.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.recorded = bytearray()
        self._keeping = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, sink, source is client), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        try:
            while data := source.recv(65536):
                if asking:
                    data = data.replace(b"ccept-Encoding:", b"ccept-Nothing!:").replace(b"ccept-encoding:", b"ccept-nothing!:")
                with self._keeping:
                    self.recorded += data
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    end.close()
