module pulltap.test/headers

go 1.16
