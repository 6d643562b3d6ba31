module pulltap.test/goserver

go 1.16
